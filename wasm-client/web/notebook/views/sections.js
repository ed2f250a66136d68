/** On a phone one section is in view at a time, chosen at the foot of the page; where there is room all of them are, and the chosen one is only shown from its top. */

export function sectionsView() {
  const buttons = [...document.querySelectorAll('.tabs button')];

  function reveal(view) {
    document.body.dataset.view = view;
    for (const button of buttons) {
      if (button.dataset.view === view) button.setAttribute('aria-current', 'page');
      else button.removeAttribute('aria-current');
    }
    scrollTo({ top: 0 });
    document.querySelector(`section[data-view="${view}"]`).scrollTop = 0;
  }

  for (const button of buttons) {
    button.addEventListener('click', () => {
      reveal(button.dataset.view);
      document.querySelector(`section[data-view="${button.dataset.view}"]`).focus({ preventScroll: true });
    });
  }
  reveal('entry');
  return { reveal };
}

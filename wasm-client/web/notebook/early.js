/* Before the first paint: language and theme as chosen last, or as the device has them. A classic script, so that nothing flashes. */
(function () {
  const root = document.documentElement;
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const stored = key => {
    try {
      return JSON.parse(localStorage.getItem('notebook.' + key));
    } catch {
      return null;
    }
  };

  const language = stored('language');
  root.lang = language === 'en' || language === 'ru' ? language : /^ru\b/i.test(navigator.language) ? 'ru' : 'en';
  if (root.lang === 'ru') document.querySelector('link[rel=manifest]').href = 'manifest.ru.webmanifest';

  let chosen = stored('theme');
  const paint = () => {
    root.dataset.theme = chosen === 'light' || chosen === 'dark' ? chosen : dark.matches ? 'dark' : 'light';
    // The bar of the browser, or of the installed page, in the colour of the page.
    document.querySelector('meta[name=theme-color]').content = root.dataset.theme === 'dark' ? '#0b1315' : '#eef2f1';
  };
  dark.addEventListener('change', paint);
  addEventListener('notebook-theme', event => {
    chosen = event.detail;
    paint();
  });
  paint();
})();

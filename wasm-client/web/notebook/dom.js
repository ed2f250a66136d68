/** Building elements without markup in strings. */

/**
 * `el('button', { class: 'big', type: 'button', onclick: save, 'aria-label': 'Save' }, 'Save')`. Attributes that are null, undefined or false
 * are left out; functions become listeners; what starts with `.` is set as a property.
 */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') node.addEventListener(name.slice(2), value);
    else if (name.startsWith('.')) node[name.slice(1)] = value;
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

/**
 * Makes the children of `parent` those of `items`, keeping the nodes of items that did not change: so the focus and what a finger is on stay.
 * @param {Element} parent
 * @param {readonly T[]} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => Element} make Marks what can have the focus with `data-focus`, so that it is found again in the new node.
 * @param {string} salt What else the nodes depend on, such as the language.
 * @template T
 */
export function reconcile(parent, items, keyOf, make, salt = '') {
  const old = new Map([...parent.children].map(node => [node.dataset.key, node]));
  const focused = document.activeElement?.dataset?.focus;
  const holder = focused && [...parent.children].find(node => node.contains(document.activeElement));
  const nodes = items.map(item => {
    const key = keyOf(item);
    const print = JSON.stringify(item) + salt;
    const kept = old.get(key);
    if (kept?.dataset.print === print) return kept;
    const node = make(item);
    Object.assign(node.dataset, { key, print });
    return node;
  });
  if (nodes.length === parent.children.length && nodes.every((node, i) => node === parent.children[i])) return;
  parent.replaceChildren(...nodes);
  if (!focused) return;
  const at = holder ? nodes.find(node => node.dataset.key === holder.dataset.key) : null;
  at?.querySelector(`[data-focus="${focused}"]`)?.focus({ preventScroll: true });
}

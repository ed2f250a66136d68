/**
 * Elements without markup in strings, and a way to show new ones in place of old ones that keeps what a person is at:
 * the focus, what is typed, what is unfolded and how far it is scrolled.
 */

/** The listeners of a node by type, and the properties it was made with. */
const made = new WeakMap();

/**
 * `el('button', { class: 'big', onclick: save, '.disabled': busy }, 'Save')`. Attributes that are null, undefined or
 * false are left out; functions become listeners; what begins with `.` is set as a property. Children are nodes or
 * text, which is never read as markup.
 */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

/** Text from elsewhere, a name for example: its direction does not reach into the text around it. */
export const bdi = text => el('bdi', {}, text);

function fill(node, attributes, children) {
  const properties = {};
  const listeners = {};
  made.set(node, { listeners, properties });
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('.')) properties[name.slice(1)] = value;
    if (name.startsWith('.') || value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') listen(node, listeners, name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat(3).filter(child => child !== null && child !== undefined && child !== false));
  // A choice is made once its options are there.
  Object.assign(node, properties);
  return node;
}

function listen(node, listeners, type, listener) {
  if (!(type in listeners)) node.addEventListener(type, event => listeners[type]?.(event));
  listeners[type] = listener;
}

/** Makes `shown` like `wanted`, keeping the nodes that are there. Children are told apart by `data-key`, else by place. */
export function morph(shown, wanted) {
  if (shown.nodeType !== Node.ELEMENT_NODE) {
    if (shown.data !== wanted.data) shown.data = wanted.data;
    return;
  }
  // What a person unfolded stays so.
  for (const { name } of [...shown.attributes]) {
    if (!wanted.hasAttribute(name) && name !== 'open') shown.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (shown.getAttribute(name) !== value && name !== 'open') shown.setAttribute(name, value);
  }
  const [had, has] = [made.get(shown), made.get(wanted)];
  for (const type of Object.keys(had.listeners)) if (!(type in has.listeners)) had.listeners[type] = undefined;
  for (const [type, listener] of Object.entries(has.listeners)) listen(shown, had.listeners, type, listener);
  morphChildren(shown, wanted);
  for (const [name, value] of Object.entries(has.properties)) {
    const typing = name === 'value' && document.activeElement === shown;
    if (!typing && shown[name] !== value) shown[name] = value;
  }
}

function morphChildren(shown, wanted) {
  const keyed = new Map([...shown.children].filter(child => child.dataset.key).map(child => [child.dataset.key, child]));
  const stay = new Set([...wanted.children].map(child => child.dataset.key));
  let at = shown.firstChild;
  const drop = () => {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  };
  for (const next of [...wanted.childNodes]) {
    while (at?.dataset?.key && !stay.has(at.dataset.key)) drop();
    const key = next.dataset?.key;
    let same = key ? keyed.get(key) : at && !at.dataset?.key && at.nodeName === next.nodeName ? at : null;
    if (same && same.nodeName !== next.nodeName) same = null;
    if (!same) {
      shown.insertBefore(next, at);
    } else {
      if (same === at) at = at.nextSibling;
      else shown.insertBefore(same, at);
      morph(same, next);
    }
  }
  while (at) drop();
}

/** {@link morph} of the children alone; what had the focus has it again if it was only moved. */
export function show(parent, ...children) {
  const focused = document.activeElement;
  const wanted = parent.cloneNode(false);
  made.set(wanted, { listeners: {}, properties: {} });
  wanted.append(...children.flat(3).filter(Boolean));
  morphChildren(parent, wanted);
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
}

/** The page's icons: strokes on a 24 × 24 grid, in the colour of the text around them. */
import { svg } from './dom.js';

const PATHS = {
  check: 'M20 6.5 9.5 17.5 4 12',
  hourglass: 'M7 3h10M7 21h10M8 3v4l4 5 4-5V3M8 21v-4l4-5 4 5v4',
  device: 'M7 2.5h10a1.5 1.5 0 0 1 1.5 1.5v16a1.5 1.5 0 0 1-1.5 1.5H7A1.5 1.5 0 0 1 5.5 20V4A1.5 1.5 0 0 1 7 2.5zM12 7v6M9.5 10.5 12 13l2.5-2.5M9 17h6',
  unlinked: 'M8.5 18.5H7a4.5 4.5 0 0 1-1.2-8.8M9.3 5.7A6 6 0 0 1 18 10.5a4 4 0 0 1 2.5 6.6M4 3.5l16.5 17',
  wrench: 'M20.5 6.5a5 5 0 0 1-6.7 6.2L7 19.5a2.1 2.1 0 0 1-3-3l6.8-6.8A5 5 0 0 1 17 3l-3 3 .5 3.5L18 10z',
  memory: 'M13 2 4.5 13.5H11L10 22l9-12h-6.5z',
  disk: 'M12 3 2.5 20h19zM12 9.5v5M12 17.2v.1',
  refused: 'M12 2.5a9.5 9.5 0 1 0 0 19 9.5 9.5 0 0 0 0-19zM5.5 5.5l13 13',
  right: 'm9 5 7 7-7 7',
  left: 'm15 5-7 7 7 7',
  close: 'M5.5 5.5l13 13M18.5 5.5l-13 13',
  search: 'M10.5 3.5a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM15.7 15.7 21 21',
  plus: 'M12 5v14M5 12h14',
  minus: 'M5 12h14',
  pen: 'M4 20l1-4.5L16.5 4a2.1 2.1 0 0 1 3.5 3.5L8.5 19z',
  list: 'M8.5 6H20M8.5 12H20M8.5 18H20M4 6h.1M4 12h.1M4 18h.1',
  chart: 'M4 4v16h16M7.5 14.5l4-4.5 3 3L20 7',
  bin: 'M4 6.5h16M9.5 6.5V4h5v2.5M6 6.5 7 20.5h10l1-14M10 10.5v6M14 10.5v6',
  swap: 'M4 8h14l-3.5-3.5M20 16H6l3.5 3.5',
};

export function icon(name) {
  return svg('svg', { class: 'glyph', viewBox: '0 0 24 24', width: 24, height: 24, 'aria-hidden': 'true', focusable: 'false' }, svg('path', { d: PATHS[name] }));
}

/** Puts the icons in where markup asks for them with `data-icon`. */
export function placeIcons(root) {
  for (const node of root.querySelectorAll('[data-icon]')) node.prepend(icon(node.dataset.icon));
}

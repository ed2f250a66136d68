/** Changes over time as bars, the rejected ones above those applied, drawn as SVG. Nothing in it is needed to understand the page: the table below says the same. */
import { svg } from './dom.js';

const [HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [280, 64, 12, 12, 34];
/** As wide as it is shown, so that its letters are as large as those around it. */
const [WIDE, NARROW] = [1180, 340];

/** Round levels from 0 up to at least `high`, at most six. Pure. */
export function levels(high, count = 4) {
  const rough = Math.max(high, 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, [1, 2, 5, 10].map(factor => factor * power).find(of => of >= rough * (1 - 1e-9)));
  return Array.from({ length: Math.ceil(high / step - 1e-9) + 1 }, (_, at) => at * step);
}

/**
 * Where the bars stand: one for each bucket of the span, those in which nothing arrived have no height. Pure.
 * @returns {{x: number, width: number, applied: number, rejected: number}[]} Heights as parts of the highest level.
 */
export function bars(buckets, { bucket_ms, from_ms, until_ms, top }) {
  const first = Math.floor(from_ms / bucket_ms) * bucket_ms;
  const slots = Math.max(1, Math.floor((until_ms - first) / bucket_ms) + 1);
  return buckets.map(({ at_ms, changes, rejected }) => {
    const slot = Math.floor((at_ms - first) / bucket_ms);
    return { x: slot / slots, width: 1 / slots, applied: changes / top, rejected: rejected / top };
  }).filter(({ x }) => x >= 0 && x < 1);
}

export function chart(buckets, { bucket_ms, from_ms, until_ms, label, number, time }) {
  const scale = levels(Math.max(...buckets.map(({ changes, rejected }) => changes + rejected)));
  const top = scale.at(-1) || 1;
  const narrow = matchMedia('(max-width: 640px)').matches;
  const width = narrow ? NARROW : WIDE;
  const [wide, high] = [width - LEFT - RIGHT, HEIGHT - TOP - BOTTOM];
  const y = part => TOP + high * (1 - part);
  const marks = narrow ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1];
  return svg('svg', { viewBox: `0 0 ${width} ${HEIGHT}`, role: 'img', 'aria-label': label },
    scale.map(level => [
      svg('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y(level / top), y2: y(level / top) }),
      svg('text', { class: 'tick', x: LEFT - 8, y: y(level / top) + 5, 'text-anchor': 'end' }, number(level)),
    ]),
    marks.map(part => svg('text', {
      class: 'tick', x: LEFT + wide * part, y: HEIGHT - 8, 'text-anchor': part === 0 ? 'start' : part === 1 ? 'end' : 'middle',
    }, time(from_ms + (until_ms - from_ms) * part))),
    bars(buckets, { bucket_ms, from_ms, until_ms, top }).map(bar => {
      const x = LEFT + bar.x * wide;
      const thick = Math.max(1, bar.width * wide * 0.8);
      return [
        svg('rect', { class: 'applied', x, width: thick, y: y(bar.applied), height: bar.applied * high }),
        svg('rect', { class: 'rejected', x, width: thick, y: y(bar.applied + bar.rejected), height: bar.rejected * high }),
      ];
    }));
}

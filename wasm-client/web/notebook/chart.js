/** A rate over time as SVG: no text in it is needed to understand the page, the table beside it says the same. */
import { svg } from './dom.js';

/**
 * Round steps that cover low … high: `{ low, high, step }`, at most `count` steps apart.
 */
export function ticks(low, high, count = 4) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map(factor => factor * power).find(candidate => candidate >= rough * (1 - 1e-9));
  const from = Math.floor(low / step + 1e-9);
  const to = Math.max(Math.ceil(high / step - 1e-9), from + 1);
  return Array.from({ length: to - from + 1 }, (_, i) => Number(((from + i) * step).toPrecision(12)));
}

/** Where the points lie, in the units of the drawing. Apart from the drawing, so that it can be tested. */
export function layout(points, { width, height, left = 48, right = 14, top = 12, bottom = 30 }) {
  const rates = points.map(point => point.rate);
  const levels = ticks(Math.min(0, ...rates), Math.max(0, ...rates));
  const [low, high] = [levels[0], levels[levels.length - 1]];
  const [first, last] = [points[0].at.getTime(), points[points.length - 1].at.getTime()];
  const x = at => (first === last ? (left + width - right) / 2 : left + ((at - first) / (last - first)) * (width - left - right));
  const y = rate => top + ((high - rate) / (high - low)) * (height - top - bottom);
  return { levels, x, y, left, right: width - right, bottom: height - bottom, spots: points.map(({ at, rate }) => ({ x: x(at.getTime()), y: y(rate) })) };
}

/**
 * @param {{at: Date, rate: number}[]} points Oldest first, at least one.
 * @param {{width: number, height: number, label: string, percent: (rate: number) => string, day: (at: Date) => string}} o
 */
export function chart(points, { width, height, label, percent, day }) {
  const { levels, x, y, left, right, bottom, spots } = layout(points, { width, height });
  const mean = points.reduce((sum, { rate }) => sum + rate, 0) / points.length;
  const line = spots.map(spot => `${spot.x.toFixed(1)},${spot.y.toFixed(1)}`).join(' ');
  const many = points.length > 80;
  const dates = points.length === 1 ? [points[0].at] : [points[0].at, points[points.length - 1].at];
  return svg('svg', { viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': label },
    levels.map(level => svg('g', {},
      svg('line', { class: level === 0 ? 'zero' : 'grid', x1: left, x2: right, y1: y(level), y2: y(level) }),
      svg('text', { class: 'tick', x: left - 8, y: y(level) + 4, 'text-anchor': 'end' }, percent(level)))),
    dates.map((at, i) => svg('text', {
      class: 'tick', x: x(at.getTime()), y: bottom + 22, 'text-anchor': dates.length === 1 ? 'middle' : i === 0 ? 'start' : 'end',
    }, day(at))),
    points.length > 1 && svg('line', { class: 'mean', x1: left, x2: right, y1: y(mean), y2: y(mean) }),
    points.length > 1 && svg('polygon', { class: 'area', points: `${spots[0].x},${y(0)} ${line} ${spots[spots.length - 1].x},${y(0)}` }),
    points.length > 1 && svg('polyline', { class: 'line', points: line }),
    spots.map((spot, i) => (many && i < spots.length - 1 ? null
      : svg('circle', { class: i === spots.length - 1 ? 'spot last' : 'spot', cx: spot.x, cy: spot.y, r: i === spots.length - 1 ? 6 : 4 }))),
    svg('line', { class: 'pointer', x1: 0, x2: 0, y1: 12, y2: bottom, visibility: 'hidden' }));
}

/** The index of the point nearest to `x` in the drawing. */
export function nearest(spots, x) {
  let best = 0;
  for (let i = 1; i < spots.length; i += 1) if (Math.abs(spots[i].x - x) < Math.abs(spots[best].x - x)) best = i;
  return best;
}

// Our own icons, drawn on a grid of 24.

import { svg } from './dom';

export type IconName = keyof typeof PATHS;

export function icon(name: IconName): SVGElement {
  const filled = FILLED.has(name);
  return svg(
    'svg',
    { viewBox: '0 0 24 24', class: filled ? 'icon filled' : 'icon', 'aria-hidden': 'true', focusable: 'false' },
    ...PATHS[name].map((d) => svg('path', { d })),
  );
}

/** Swaps the icon of a button if it is another one. */
export function setIcon(button: HTMLElement, name: IconName): void {
  if (button.dataset['icon'] === name) return;
  button.dataset['icon'] = name;
  const old = button.querySelector('svg');
  if (old) old.replaceWith(icon(name));
  else button.prepend(icon(name));
}

const SPEAKER = 'M4 9.500v5h3.500L12 18.500v-13L7.500 9.500z';

const PATHS = {
  play: ['M7 4.800v14.400a.6.6 0 0 0 .92.5l11.200-7.200a.6.6 0 0 0 0-1L7.920 4.300A.6.6 0 0 0 7 4.800z'],
  pause: ['M7 4.500h3.200v15H7z', 'M13.800 4.500H17v15h-3.200z'],
  replay: ['M5 12a7 7 0 1 0 2.300-5.200', 'M4.500 4.500v4h4'],
  sound: [SPEAKER, 'M15.500 9a4.200 4.200 0 0 1 0 6', 'M18 6.500a7.800 7.800 0 0 1 0 11'],
  soft: [SPEAKER, 'M15.500 9a4.200 4.200 0 0 1 0 6'],
  muted: [SPEAKER, 'M16 9.500l5 5', 'M21 9.500l-5 5'],
  quality: [
    'M4 7h9', 'M17 7h3', 'M4 12h3', 'M11 12h9', 'M4 17h7', 'M15 17h5',
    'M15 5v4', 'M9 10v4', 'M13 15v4',
  ],
  delay: ['M12 4.500a7.500 7.500 0 1 0 0 15a7.500 7.500 0 0 0 0-15z', 'M12 8v4.500l3 2'],
  stats: ['M4 19V5', 'M4 19h16', 'M7.500 15l3.500-4 3 2.500L19 8'],
  pip: ['M3.500 5.500h17v13h-17z', 'M12.500 12h5v3.500h-5z'],
  fullscreen: ['M4 9V4h5', 'M20 9V4h-5', 'M4 15v5h5', 'M20 15v5h-5'],
  window: ['M9 4v5H4', 'M15 4v5h5', 'M9 20v-5H4', 'M15 20v-5h5'],
  help: ['M9 9.200a3 3 0 1 1 4.300 2.700c-.9.5-1.300 1-1.300 2.100', 'M12 17.400v.1'],
  close: ['M6 6l12 12', 'M18 6L6 18'],
  check: ['M5 12.500l4.500 4.500L19 7.500'],
  link: ['M10 14a4 4 0 0 0 5.700 0l3-3a4 4 0 0 0-5.700-5.700l-1 1', 'M14 10a4 4 0 0 0-5.700 0l-3 3A4 4 0 0 0 11 18.700l1-1'],
  code: ['M8.500 8L4.500 12l4 4', 'M15.500 8l4 4-4 4'],
  copy: ['M9 9h10v10H9z', 'M5 15V5h10'],
} as const;

const FILLED = new Set<string>(['play', 'pause']);

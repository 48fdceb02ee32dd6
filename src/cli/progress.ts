import type { OperationDescription } from '../client/index.js';
import { formatDuration } from './duration.js';
import { clean } from './terminal.js';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const BAR = 20;
/** Leaves room for what blocks. */
const SHORT_BAR = 8;
const FRAME_MS = 100;

/** One line about an operation, cut to `width`: how far it is, for how long, and what blocks it. */
export function progressText(
  label: string,
  description: OperationDescription | undefined,
  elapsedMs: number,
  width: number,
): string {
  const frame = FRAMES[Math.floor(elapsedMs / FRAME_MS) % FRAMES.length]!;
  const parts = [`${frame} ${label}`];
  const progress = description?.progress;
  const blockers = description?.blockers ?? [];
  const bar = blockers.length > 0 ? SHORT_BAR : BAR;
  if (progress !== undefined && progress.total > 0) {
    const done = Math.max(progress.total - progress.open, 0);
    const filled = Math.floor((done / progress.total) * bar);
    parts.push(`${'█'.repeat(filled)}${'░'.repeat(bar - filled)} ${done}/${progress.total}`);
  }
  parts.push(formatDuration(elapsedMs));
  if (blockers.length > 0) parts.push(`BLOCKED ${blockers.join('; ')}`);
  const text = Array.from(clean(parts.join('  ')));
  return text.length <= width ? text.join('') : `${text.slice(0, Math.max(width - 1, 0)).join('')}…`;
}

/** A line on a terminal that is written over and over, and gone in the end. Anywhere else it is nothing. */
export class ProgressLine {
  readonly #started = performance.now();
  readonly #timer: NodeJS.Timeout | undefined;
  #description: OperationDescription | undefined;

  constructor(
    private readonly label: string,
    private readonly stream: NodeJS.WriteStream = process.stderr,
  ) {
    if (stream.isTTY) this.#timer = setInterval(() => this.#draw(), FRAME_MS);
  }

  show(description: OperationDescription): void {
    this.#description = description;
  }

  end(): void {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.stream.write('\r\u001b[K');
  }

  #draw(): void {
    const elapsedMs = performance.now() - this.#started;
    // One column less: a full line would break, and leave a line behind each time.
    const width = (this.stream.columns || 80) - 1;
    this.stream.write(`\r\u001b[K${progressText(this.label, this.#description, elapsedMs, width)}`);
  }
}

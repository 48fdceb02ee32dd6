import type { EndedHeal, HealResult } from '../client/index.js';
import { SCHEDULE_ACTOR } from '../rules/words.js';
import { formatDuration } from './duration.js';
import { listing } from './render.js';
import { type Cell, type Column, paragraph } from './table.js';
import { colors, tableWidth } from './terminal.js';

/** What `steward top` tells of heals: what is stuck still, and what was healed last; each with when, and who looked. */

type Stuck = HealResult['stuck'][number];
type Healed = HealResult['healed'][number];

/** What of a cycle was found and not healed. */
export function unhealed({ stuck, healed }: HealResult): Stuck[] {
  return stuck.filter((one) => !healed.some((other) => isSame(one, other)));
}

/** Those that a cycle did something about. */
export function acted({ healed }: HealResult): Healed[] {
  return healed.filter(({ outcome }) => outcome !== 'GONE');
}

export function unhealedText(cycle: EndedHeal, shown: readonly Stuck[]): string {
  return [
    line(`found ${whenText(cycle)}`),
    listing(
      titled('TABLE', 'PROCESS', 'STUCK', 'NOT HEALED BECAUSE'),
      shown.map((one) => [one.table, one.processId, SHAPES[one.shape], whyText(one, cycle.result)]),
      '',
    ),
  ].join('\n');
}

export function healedText(cycle: EndedHeal, shown: readonly Healed[]): string {
  return [
    line(whenText(cycle)),
    listing(
      titled('TABLE', 'PROCESS', 'WAS STUCK', 'HEALED'),
      shown.map(({ table: name, processId, shape, outcome }) => [
        name,
        processId,
        SHAPES[shape],
        OUTCOMES[outcome],
      ]),
      '',
    ),
  ].join('\n');
}

/** As docs/optimizing.md has them. */
const SHAPES: Readonly<Record<Stuck['shape'], string>> = {
  S1: 'S1: all done, not committed',
  S2: 'S2: a result is not recorded',
  S3: 'S3: no commit runs',
  S4: 'S4: nobody works on a task',
};

const OUTCOMES: Readonly<Record<Healed['outcome'], Cell>> = {
  COMMITTING: 'its commit runs',
  RECORDED: 'the result is recorded',
  REPLANNED: 'the task is planned again',
  FAILED: { text: 'given up: a task failed for the last time', paint: colors.red },
  GONE: 'went on by itself',
};

/** `4m 12s ago by steward/heal-stuck-commits` */
function whenText({ operationId, actor, endedAt }: EndedHeal): string {
  const ago = `${formatDuration(Math.max(0, Date.now() - Date.parse(endedAt)))} ago`;
  // Temporal names the run of a schedule by the schedule and its time.
  const by = actor === SCHEDULE_ACTOR ? operationId.replace(/-\d{4}-\d\d-\d\dT[^/]*$/, '') : actor;
  return by === undefined ? ago : `${ago} by ${by}`;
}

function whyText(one: Stuck, { mode, breaker, failed }: HealResult): Cell {
  const cause = failed.find((other) => isSame(one, other))?.cause;
  if (cause !== undefined) return { text: `${cause}; tried again`, paint: colors.red };
  if (mode === 'observe') return 'it was only looked for';
  if (breaker.state === 'OPEN') return { text: 'breaker open: steward heal ack', paint: colors.red };
  return 'the next cycle does it';
}

function isSame(one: Pick<Stuck, 'processId' | 'shape'>, other: Pick<Stuck, 'processId' | 'shape'>): boolean {
  return one.processId === other.processId && one.shape === other.shape;
}

function line(text: string): string {
  return paragraph({ text, paint: colors.dim }, tableWidth());
}

function titled(...titles: readonly string[]): Column[] {
  return titles.map((title) => (title === 'PROCESS' ? { title, align: 'right' } : { title }));
}

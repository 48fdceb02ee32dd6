import type { Overview, RunningOperation } from '../client/index.js';
import { formatDuration } from './duration.js';
import { acted, healedText, unhealed, unhealedText } from './heals-text.js';
import { nodeTable, pauseText, section } from './render.js';
import { type Paint, paragraph, table } from './table.js';
import { colors, tableWidth } from './terminal.js';

/** What `steward top` shows: a section for everything that there is something to say of. */
export function overviewText(overview: Overview): string {
  const { at, problems, pauses = [], heals: { last, lastHealed } = {} } = overview;
  return [
    `${colors.bold('Steward')} at ${at}${summary(overview)}`,
    ...problems.map((problem) => told(`cannot be shown: ${problem}`, colors.red)),
    ...pauses.map((pause) => told(pauseText(pause), colors.yellow)),
    ...part('NODES', overview.nodes, (nodes) => nodeTable(nodes)),
    ...part('OPERATIONS', overview.operations, operationsText),
    ...part('STUCK PROCESSES', last && unhealed(last.result), (stuck) => unhealedText(last!, stuck)),
    ...part('ORPHANS', overview.orphans, (orphans) =>
      rows(
        ['GROUP', 'RESOURCE', 'NODE', 'LAST ERROR'],
        orphans.map(({ group, resourceId, nodeId = '', lastError = '' }) => [
          group,
          resourceId,
          nodeId,
          lastError,
        ]),
      ),
    ),
    ...part('JOBS', overview.jobs, (jobs) =>
      rows(
        ['JOB', 'STATE', 'TASK GROUPS', 'ROWS OUT', 'RESTARTS'],
        jobs.map((job) => [
          job.jobId,
          job.state,
          `${job.activeTaskGroups}/${job.taskGroups}`,
          job.rowsOut,
          job.restarts,
        ]),
      ),
    ),
    ...part('TOMBSTONES', overview.tombstones, (tombstones) =>
      rows(
        ['JOB', 'STATE', 'ID FREE'],
        tombstones.map(({ jobId, state, freeAt }) => [jobId, state, freeText(freeAt)]),
      ),
    ),
    ...part('LAST HEALS', lastHealed && acted(lastHealed.result), (healed) =>
      healedText(lastHealed!, healed),
    ),
    ...part('RESTARTED OPTIMIZERS', overview.restarts, (restarts) =>
      rows(
        ['GROUP', 'RESOURCE', 'LAUNCH', 'REGISTERED'],
        restarts.map(({ group, resourceId, launch, registeredAt }) => [
          group,
          resourceId,
          launch,
          registeredAt === undefined ? '' : `${since(registeredAt)} ago`,
        ]),
      ),
    ),
  ].join('\n');
}

/** The lines that a screen has room for; when there are more, the last one says so. */
export function screenful(text: string, rows: number): string[] {
  const lines = text.split('\n');
  // A line below is left free: after a full screen the terminal would scroll.
  const room = Math.max(1, rows - 1);
  if (lines.length <= room) return lines;
  const left = lines.length - room + 1;
  return [...lines.slice(0, room - 1), colors.yellow(`and ${left} more lines: steward top --once`)];
}

function told(text: string, paint: Paint): string {
  return paragraph({ text, paint }, tableWidth());
}

function summary({ nodes, operations, heals }: Overview): string {
  const parts = [
    nodes && `${nodes.filter(({ alive }) => alive).length} of ${nodes.length} nodes alive`,
    operations && `${operations.length} running`,
    heals?.breaker.state === 'OPEN' ? colors.red('breaker OPEN') : undefined,
  ].filter((one) => one !== undefined);
  return parts.length === 0 ? '' : `: ${parts.join(', ')}`;
}

/** Most rows of a section. */
const SHOWN = 10;

function part<T>(
  title: string,
  all: readonly T[] | undefined,
  render: (shown: readonly T[]) => string,
): string[] {
  if (all === undefined || all.length === 0) return [];
  const more = all.length > SHOWN ? [`and ${all.length - SHOWN} more`] : [];
  return [section(title, [render(all.slice(0, SHOWN)), ...more].join('\n'))];
}

function operationsText(operations: readonly RunningOperation[]): string {
  return rows(
    ['OPERATION', 'FOR', 'DONE', 'BLOCKED BY'],
    operations.map(({ operationId, startedAt, progress, blockers = [], paused }) => [
      operationId,
      since(startedAt),
      progress === undefined ? '' : `${progress.total - progress.open}/${progress.total}`,
      blockers.length === 0 && paused !== undefined ? `PAUSED by ${paused.actor}` : blockers.join('; '),
    ]),
  );
}

function rows(titles: readonly string[], cells: readonly (readonly (string | number)[])[]): string {
  return table(
    titles.map((title) => ({ title })),
    cells,
    tableWidth(),
    colors.bold,
  );
}

function since(time: string): string {
  return formatDuration(Math.max(0, Date.now() - Date.parse(time)));
}

function freeText(freeAt: string | undefined): string {
  if (freeAt === undefined) return '';
  const ms = Date.parse(freeAt) - Date.now();
  return ms > 0 ? `in ${formatDuration(ms)}` : `overdue for ${formatDuration(-ms)}`;
}

import type { OptimizerGroupDescription, OptimizerResource, OrphanResource } from '../client/index.js';
import { counted } from '../rules/counted.js';
import { formatDuration } from './duration.js';
import { details, listing, section } from './render.js';
import type { Cell } from './table.js';
import { colors } from './terminal.js';

/** A group as people see it. */
export function optimizerGroupText(group: OptimizerGroupDescription): string {
  const { settings, keeper, orphans, optedOut, resources, open, warnings } = group;
  const live = resources.filter(({ optimizer }) => optimizer?.alive);
  const releasing = resources.filter(({ state }) => state === 'RELEASING');
  const parts = [
    details([
      ['group', group.name],
      ['container', group.container],
      ['created', `${group.createdAt} by ${group.createdBy}`],
      ['keeper', keeperCell(keeper)],
      ['optimizers', `${group.liveOptimizers} alive, ${group.liveThreads} threads`],
      ['minimum', minimumCell(group)],
      [
        'restarts',
        settings.autoRestart
          ? `up to ${settings.maxRetries}, after a grace of ${formatDuration(settings.gracePeriodMs)} each`
          : 'no (autoRestart is off)',
      ],
      ['silent after', formatDuration(settings.heartbeatTimeoutMs)],
      [
        'requests',
        `${counted(settings.threadsPerOptimizer, 'thread')} and ${settings.memoryMbPerOptimizer} MB at most`,
      ],
      ['tables', `${group.tables}; tasks that wait: ${group.plannedTasks}`],
    ]),
    section('LIVE', optimizerTable(live)),
  ];
  if (orphans.length > 0) parts.push(section('ORPHANS', orphanTable(orphans, resources)));
  if (optedOut.length > 0) {
    const rows = optedOut.map(({ resourceId, container, because }) => [
      resourceId,
      container,
      because === 'OPTS_OUT' ? 'its container opts out of restarts' : 'its container is not configured',
    ]);
    const columns = [{ title: 'RESOURCE' }, { title: 'CONTAINER' }, { title: 'WHY' }];
    parts.push(section('LEFT TO THEIR CONTAINER', listing(columns, rows, '')));
  }
  if (releasing.length > 0) {
    const rows = releasing.map(({ resourceId, nodeId, lastError }) => [
      resourceId,
      nodeId ?? '',
      lastError ?? '',
    ]);
    const columns = [{ title: 'RESOURCE' }, { title: 'NODE' }, { title: 'LAST ERROR' }];
    parts.push(section('BEING RELEASED', listing(columns, rows, '')));
  }
  if (open.length > 0) {
    parts.push(section(colors.yellow('NOT DONE YET'), details(open.map((one) => ['-', one] as const))));
  }
  parts.push(...warnings.map((warning) => colors.yellow(`WARN ${warning}`)));
  return parts.join('\n');
}

function keeperCell({ state, reason }: OptimizerGroupDescription['keeper']): Cell {
  switch (state) {
    case 'KEEPING':
      return { text: 'keeping', paint: colors.green };
    case 'PAUSED':
      return { text: `paused: ${reason}`, paint: colors.yellow };
    case 'SILENT':
      return { text: `does not answer: ${reason}`, paint: colors.red };
    case 'MISSING':
      return {
        text: 'missing: the schedule steward/ensure-keepers starts one within a minute',
        paint: colors.red,
      };
  }
}

function minimumCell({ settings, effectiveMinParallelism }: OptimizerGroupDescription): Cell {
  const configured = settings.minParallelism;
  if (effectiveMinParallelism === undefined || effectiveMinParallelism === configured) {
    return `${configured} threads`;
  }
  const text = `${effectiveMinParallelism} threads in effect, ${configured} configured: requests never registered`;
  return { text, paint: colors.yellow };
}

function optimizerTable(live: readonly OptimizerResource[]): string {
  return listing(
    [
      { title: 'RESOURCE' },
      { title: 'NODE' },
      { title: 'PROCESS' },
      { title: 'THREADS', align: 'right' },
      { title: 'MEMORY', align: 'right' },
      { title: 'LAUNCH', align: 'right' },
      { title: 'HEARD' },
    ],
    live.map(({ resourceId, nodeId, processId, threads, memoryMb, launch, optimizer }) => [
      resourceId,
      nodeId ?? '',
      processId === undefined ? '' : processText(processId),
      threads,
      `${memoryMb} MB`,
      launch,
      `${formatDuration(optimizer?.silentMs ?? 0)} ago`,
    ]),
    'none',
  );
}

/** Of a process on a node, `<pid>@<boot>:<start>`, the part by which its machine knows it now. */
function processText(processId: string): string {
  return /^(\d+)@[0-9a-f]+:\d+$/.exec(processId)?.[1] ?? processId;
}

function orphanTable(orphans: readonly OrphanResource[], resources: readonly OptimizerResource[]): string {
  return listing(
    [
      { title: 'RESOURCE' },
      { title: 'RESTARTS', align: 'right' },
      { title: 'NEXT' },
      { title: 'LAST ERROR' },
    ],
    orphans.map((orphan) => [
      orphan.resourceId,
      orphan.attempts,
      nextText(orphan),
      resources.find(({ resourceId }) => resourceId === orphan.resourceId)?.lastError ?? '',
    ]),
    'none',
  );
}

function nextText({ next, nextTurnAt }: OrphanResource): string {
  if (next === 'NOTHING') return 'left to the operator (autoRestart is off)';
  const what = next === 'RESTART' ? 'restart' : 'given up';
  if (nextTurnAt === undefined) return `${what} after its grace`;
  const inMs = Date.parse(nextTurnAt) - Date.now();
  return inMs <= 0 ? `${what} in the next cycle` : `${what} in ${formatDuration(inMs)} (${nextTurnAt})`;
}

import type {
  EffectLoad,
  Holder,
  NodeLimits,
  Operation,
  OperationDescription,
  OperationProgress,
  OperationStatus,
  Pause,
  RegionGroup,
} from '../client/index.js';
import type { HostedReplica, NodesDocument, PlannedRegionGroup } from './documents.js';
import { formatDuration } from './duration.js';
import type { LocalProcess } from './local-processes.js';
import { type Cell, type Column, fields, table } from './table.js';
import { colors, tableWidth } from './terminal.js';

/** What people see of nodes, region groups and operations. Everything fits the terminal, or 80 columns. */

export function section(title: string, body: string): string {
  return `\n${colors.bold(title)}\n${body}`;
}

export function listing(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  nothing: string,
): string {
  return rows.length === 0 ? nothing : table(columns, rows, tableWidth(), colors.bold);
}

export function details(pairs: readonly (readonly [string, Cell | undefined])[]): string {
  return fields(pairs, tableWidth());
}

/** `removeRegionGroups region-group/7/remove of ann@host since ...` */
export function holderText({ workflowType, workflowId, actor, since }: Holder): string {
  return `${workflowType} ${workflowId} of ${actor} since ${since}`;
}

export function nodeTable(nodes: NodesDocument['nodes']): string {
  return listing(
    [
      { title: 'NODE' },
      { title: 'STATE' },
      { title: 'REPLICAS', align: 'right' },
      { title: 'INCARNATION', align: 'right' },
      { title: 'HEARD' },
      { title: 'ADDRESS' },
    ],
    nodes.map((node) => [
      node.nodeId,
      nodeStateCell(node),
      node.replicas,
      node.incarnation,
      heardText(node),
      node.address,
    ]),
    'no node has registered yet',
  );
}

/** `alive`, `not alive`; and of a process of the local stack what else than running it is. */
export function nodeStateCell({ alive, process }: NodesDocument['nodes'][number]): Cell {
  const state = alive ? 'alive' : 'not alive';
  if (process === undefined || process.state === 'running') {
    return { text: state, paint: alive ? colors.green : colors.red };
  }
  return { text: `${state}, ${process.state}`, paint: alive ? colors.yellow : colors.red };
}

/** Its last heartbeat: `0.4s ago`, or `silent for 23s` when that is too long ago. */
export function heardText({ alive, silentMs }: NodesDocument['nodes'][number]): string {
  const silence = formatDuration(silentMs);
  return alive ? `${silence} ago` : `silent for ${silence}`;
}

/** `running, pid 12`, `paused (SIGSTOP), pid 12`, `stopped` */
export function processText({ state, pid }: LocalProcess): string {
  return `${state}${state === 'paused' ? ' (SIGSTOP)' : ''}${pid === undefined ? '' : `, pid ${pid}`}`;
}

export function regionGroupTable(groups: readonly RegionGroup[], nothing = 'no region groups'): string {
  const held = groups.some(({ holder }) => holder !== undefined);
  return listing(
    [
      { title: 'ID', align: 'right' },
      { title: 'DATABASE' },
      { title: 'KIND' },
      { title: 'STATE' },
      { title: 'RUNNING', align: 'right' },
      { title: 'REPLICAS' },
      ...(held ? [{ title: 'HELD BY' }] : []),
    ],
    groups.map((group) => [
      group.groupId,
      group.database,
      group.kind,
      groupStateCell(group),
      `${runningReplicas(group)}/${group.replicationFactor}`,
      group.replicas
        .map(({ nodeId, state }) => (state === 'RUNNING' ? nodeId : `${nodeId}:${state}`))
        .join(' '),
      ...(held ? [group.holder?.workflowId ?? ''] : []),
    ]),
    nothing,
  );
}

export function groupStateCell(group: RegionGroup): Cell {
  if (group.state === 'REMOVING') return { text: group.state, paint: colors.yellow };
  const complete = group.state === 'RUNNING' && runningReplicas(group) >= group.replicationFactor;
  return { text: group.state, paint: complete ? colors.green : colors.yellow };
}

export function runningReplicas({ replicas }: RegionGroup): number {
  return replicas.filter(({ state }) => state === 'RUNNING').length;
}

export function replicaTable(group: RegionGroup): string {
  return listing(
    [{ title: 'NODE' }, { title: 'STATE' }, { title: 'ATTEMPT', align: 'right' }, { title: 'LAST ERROR' }],
    group.replicas.map(({ nodeId, state, attempt, lastError }) => [
      nodeId,
      { text: state, paint: state === 'RUNNING' ? colors.green : colors.yellow },
      attempt,
      lastError ?? '',
    ]),
    'no replicas',
  );
}

export function hostedTable(replicas: readonly HostedReplica[]): string {
  return listing(
    [{ title: 'REGION GROUP', align: 'right' }, { title: 'DATABASE' }, { title: 'KIND' }, { title: 'STATE' }],
    replicas.map(({ groupId, database, kind, state }) => [groupId, database, kind, state]),
    'no replicas',
  );
}

export function planTable(planned: readonly PlannedRegionGroup[]): string {
  return listing(
    [{ title: 'KIND' }, { title: 'REPLICAS ON' }],
    planned.map(({ kind, nodes }) => [kind, nodes.join(' ')]),
    'no region groups',
  );
}

export function operationTable(operations: readonly Operation[], nothing: string): string {
  const now = Date.now();
  return listing(
    [
      { title: 'OPERATION' },
      { title: 'STATUS' },
      { title: 'ACTOR' },
      { title: 'STARTED' },
      { title: 'TOOK' },
    ],
    operations.map((operation) => [
      operation.operationId,
      operation.paused === undefined ? statusCell(operation.status) : statusCell('PAUSED'),
      operation.actor ?? '',
      `${formatDuration(now - Date.parse(operation.startedAt))} ago`,
      tookText(operation),
    ]),
    nothing,
  );
}

function tookText({ startedAt, closedAt }: Operation): string {
  return closedAt === undefined ? '' : formatDuration(Date.parse(closedAt) - Date.parse(startedAt));
}

function statusCell(status: OperationStatus): Cell {
  switch (status) {
    case 'COMPLETED':
      return { text: status, paint: colors.green };
    case 'RUNNING':
    case 'CONTINUED_AS_NEW':
      return { text: status, paint: colors.cyan };
    case 'PAUSED':
      return { text: status, paint: colors.yellow };
    case 'FAILED':
    case 'CANCELED':
    case 'TERMINATED':
    case 'TIMED_OUT':
      return { text: status, paint: colors.red };
  }
}

/** `"remove region group 3" of ann, RUNNING for 5m, 1 of 3 replicas` */
export function runningText({
  summary,
  workflowType,
  actor,
  status,
  startedAt,
  progress,
}: OperationDescription): string {
  return [
    `${summary === undefined ? workflowType : `"${summary}"`}${actor === undefined ? '' : ` of ${actor}`}`,
    `${status} for ${formatDuration(Date.now() - Date.parse(startedAt))}`,
    ...(progress === undefined ? [] : [progressText(progress)]),
  ].join(', ');
}

export function operationText(operation: OperationDescription): string {
  const { progress, failure, supersededBy, pendingActivities, blockers } = operation;
  const parts = [
    details([
      ['operation', operation.operationId],
      ['what', operation.summary ?? firstLine(operation.currentDetails)],
      ['type', operation.workflowType],
      ['status', statusCell(operation.status)],
      ['paused', operation.paused && { text: pauseText(operation.paused), paint: colors.yellow }],
      ['phase', operation.closedAt === undefined ? operation.phase : undefined],
      ['database', operation.database],
      ['actor', operation.actor],
      ['started', operation.startedAt],
      ['closed', operation.closedAt],
      ['took', operation.closedAt === undefined ? undefined : tookText(operation)],
      ['progress', progress && progressText(progress)],
      ...(progress?.openByNode ?? []).map(
        ({ nodeId, replicas }) => [`  ${nodeId}`, `${replicas} open`] as const,
      ),
      ['result', operation.result === undefined ? undefined : JSON.stringify(operation.result)],
      ['failure', failure && { text: `${failure.code}: ${failure.message}`, paint: colors.red }],
      ['superseded by', supersededBy && holderText(supersededBy)],
      ['run', operation.runId],
    ]),
  ];
  if (pendingActivities.length > 0) {
    const rows = pendingActivities.map(
      ({ summary, activityType, attempt, state, nextAttemptAt, lastFailure }) => [
        summary ?? activityType,
        attempt,
        nextAttemptAt === undefined
          ? state.toLowerCase()
          : `in ${formatDuration(Date.parse(nextAttemptAt) - Date.now())}`,
        lastFailure ?? '',
      ],
    );
    const columns: Column[] = [
      { title: 'PENDING' },
      { title: 'ATTEMPT', align: 'right' },
      { title: 'NEXT' },
      { title: 'LAST FOUND' },
    ];
    parts.push(`\n${listing(columns, rows, '')}`);
  }
  if (blockers.length > 0) {
    parts.push(
      section(colors.red('BLOCKED BY'), details(blockers.map((blocker) => ['-', blocker] as const))),
    );
  }
  return parts.join('\n');
}

/** `1 of 3 replicas` */
function progressText({ total, open }: OperationProgress): string {
  return `${total - open} of ${total} replicas`;
}

/** A workflow that goes on in a new run has no summary there: what it says of itself stands for it. */
function firstLine(markdown: string | undefined): string | undefined {
  return markdown?.split('\n', 1)[0]?.replaceAll('**', '');
}

/** `everything is paused by ann since ...: network works` */
export function pauseText({ operationId, actor, since, reason }: Pause): string {
  return `${operationId ?? 'everything'} is paused by ${actor} since ${since}: ${reason}`;
}

/** `2 running, 14 wait, at most 2`, of one verb. */
export function loadText({ running, waiting, limit }: EffectLoad): string {
  const most = limit === undefined ? [] : [`at most ${limit} at a time`];
  return [`${running} running`, ...(waiting > 0 ? [`${waiting} wait`] : []), ...most].join(', ');
}

/** `deletions 2, creations 8`, or `none` */
export function limitsText({ deletions, creations }: NodeLimits): string {
  const parts = [
    ...(deletions === undefined ? [] : [`deletions ${deletions}`]),
    ...(creations === undefined ? [] : [`creations ${creations}`]),
  ];
  return parts.length === 0 ? 'none' : parts.join(', ');
}

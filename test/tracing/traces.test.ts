import { readFileSync, writeFileSync } from 'node:fs';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { spanOfRun } from '../../src/rules/trace-context.js';
import { deletionsUnderWay, slow } from '../chaos/slow-regions.js';
import { steward as command, startCommand } from '../cli/steward-command.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { type Steward, startSteward } from '../support/steward.js';
import { type Collector, type ReceivedSpan, startCollector } from './collector.js';

const TOKEN = 'planted-token-that-must-not-be-traced-0001';
const COLLECTOR_KEY = 'planted-key-of-the-collector-0002';
const NODES = ['node-1', 'node-2', 'node-3'];
const SUBMIT = 'steward.worker.v1.OperationService/Submit';

const JOB = `
job: traced
env: { jobMode: BATCH }
pipelines:
  - source: { rate: { rows: 20, rowsPerSecond: 1000 } }
    sink: { directory: out, format: csv }
`;

let room: ReturnType<typeof temporaryDirectory>;
let collector: Collector;
let steward: Steward;
let transportEnv: Record<string, string>;
let tracingEnv: Record<string, string>;

beforeAll(async () => {
  room = temporaryDirectory('traces');
  collector = await startCollector();
  const tokenFile = `${room.path}/tokens`;
  writeFileSync(tokenFile, `${TOKEN}\n`);
  transportEnv = { STEWARD_TOKEN_FILE: tokenFile };
  tracingEnv = {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=${COLLECTOR_KEY}`,
    OTEL_BSP_SCHEDULE_DELAY: '100',
  };
  steward = await startSteward({
    transportEnv,
    nodeEnv: tracingEnv,
    workerEnv: tracingEnv,
    coordinatorEnv: tracingEnv,
  });
});
afterAll(async () => {
  await steward?.stop();
  await collector?.close();
  await room?.remove();
});

test('a deletion by the CLI is one trace: command, workflow, activities, calls, and the deletion on every node', async () => {
  await steward.database('sales', 2);
  const deleted = await cli(['database', 'delete', 'sales', '--yes', '--json']);
  expect(deleted).toMatchObject({ code: 0, stderr: '' });

  const trace = await wholeTrace('steward database delete', 'database/sales/delete');
  // Two groups on each of three nodes.
  const deletions = trace.filter(({ name }) => name === 'delete-region');
  expect(deletions.map(({ by }) => by).sort()).toEqual(
    NODES.flatMap((node) => repeat(2, `steward-node ${node}`)),
  );
  for (const deletion of deletions) {
    expect(chain(trace, deletion)).toEqual([
      ['delete-region', 'INTERNAL', deletion.by],
      [SUBMIT, 'SERVER', deletion.by],
      [SUBMIT, 'CLIENT', 'steward-worker'],
      ['RunActivity:reconcileRegions', 'INTERNAL', 'steward-worker'],
      ['RunWorkflow:deleteDatabase', 'INTERNAL', 'steward-worker'],
      ['StartWorkflow:deleteDatabase', 'INTERNAL', 'steward-cli'],
      ['steward database delete', 'INTERNAL', 'steward-cli'],
    ]);
    const node = deletion.by.split(' ')[1]!;
    expect(deletion).toMatchObject({
      failed: false,
      events: ['effect began'],
      attributes: {
        'steward.operation.id': expect.stringMatching(new RegExp(`^delete-region/.+/${node}@\\d+#1$`)),
        'steward.resource': expect.stringMatching(/^region\/[0-9a-f-]{36}\/\d+$/),
        'steward.node': node,
        'steward.outcome': 'SUCCESS',
      },
    });
  }
  expect(named(trace, 'RunWorkflow:deleteDatabase')).toMatchObject({
    attributes: {
      temporalWorkflowId: 'database/sales/delete',
      'steward.database': 'sales',
      'steward.actor': 'tester',
      'steward.outcome': 'done',
    },
  });
  const reconciled = trace.filter(({ name }) => name === 'RunActivity:reconcileRegions');
  expect(new Set(reconciled.map(({ attributes }) => attributes['steward.node']))).toEqual(new Set(NODES));
  expect(trace.some(({ by, kind }) => by === 'steward-coordinator' && kind === 'SERVER')).toBe(true);
  expect(trace.filter(({ failed }) => failed)).toEqual([]);

  const { traceId } = trace[0]!;
  for (const { logFile } of [steward.worker, ...steward.nodes]) {
    const lines = readFileSync(logFile, 'utf8')
      .split('\n')
      .filter((line) => line.includes('database/sales/delete'));
    expect(lines.length, logFile).toBeGreaterThan(0);
    for (const line of lines)
      expect(JSON.parse(line)).toMatchObject({ trace_id: traceId, span_id: expect.any(String) });
  }
});

test('a reply that was lost: the call failed, was made again in the same trace, and points to the one deletion', async () => {
  await steward.database('lossy', 1);
  await steward.fault('node-1', { target: 'Submit', times: 1, kind: { case: 'dropReply', value: true } });
  await steward.fault('node-1', {
    target: 'delete-region',
    times: 1,
    kind: { case: 'delay', value: durationFromMs(1_500) },
  });
  expect(await cli(['database', 'delete', 'lossy', '--yes'])).toMatchObject({ code: 0 });

  const trace = await wholeTrace('steward database delete', 'database/lossy/delete');
  const onNode = trace.filter(({ attributes }) => attributes['steward.node'] === 'node-1');
  const [deletion, ...others] = onNode.filter(({ name }) => name === 'delete-region');
  expect(others).toEqual([]);
  const calls = onNode.filter(({ name, kind }) => name === SUBMIT && kind === 'CLIENT').sort(byStart);
  expect(calls.length).toBeGreaterThan(1);
  expect(calls.map(({ failed }) => failed)).toEqual([true, ...repeat(calls.length - 1, false)]);
  const servers = calls.map((call) => trace.find(({ parentSpanId }) => parentSpanId === call.spanId)!);
  expect(deletion!.parentSpanId).toBe(servers[0]!.spanId);
  // Those that came while it was under way.
  const joined = servers.slice(1).filter(({ startNs }) => startNs < deletion!.endNs);
  expect(joined.length).toBeGreaterThan(0);
  for (const { links } of joined) expect(links).toEqual([deletion!.spanId]);
  // Asking again while it is under way is no failure: it is how a long deletion is waited for.
  const attempts = onNode.filter(({ name }) => name === 'RunActivity:reconcileRegions').sort(byStart);
  expect(attempts.map(({ attributes }) => attributes['steward.attempt'])).toEqual(
    attempts.map((_, at) => at + 1),
  );
  expect(attempts.filter(({ failed }) => failed)).toEqual([]);
});

test('a workflow that nobody traced begins a trace of its own, whose ids are those of its run', async () => {
  await steward.client.schedules.trigger('steward/sweep-replicas');
  const run = await eventually(
    'the sweep is told',
    async () => collector.spans.find(({ name }) => name === 'RunWorkflow:sweepReplicas'),
    15_000,
  );
  expect(run).toMatchObject({ parentSpanId: '', ...spanOfRun(String(run.attributes['run_id'])) });
  const trace = collector.spans.filter(({ traceId }) => traceId === run.traceId);
  for (const { name } of trace) expect(name).not.toMatch(/^steward /);
  const calls = trace.filter(({ kind, by }) => kind === 'SERVER' && by.startsWith('steward-node'));
  expect(new Set(calls.map(({ by }) => by))).toEqual(new Set(NODES.map((node) => `steward-node ${node}`)));
  for (const call of calls) expect(chain(trace, call).at(-1)![0]).toBe('RunWorkflow:sweepReplicas');
});

test('a job is one trace, up to the nodes that report to the coordinator and the signal that follows', async () => {
  const file = `${room.path}/traced.yaml`;
  writeFileSync(file, JOB);
  expect(await cli(['job', 'submit', file, '--job-id', 'traced', '--wait'])).toMatchObject({ code: 0 });
  const trace = await wholeTrace('steward job submit', 'job/traced');
  const signals = trace.filter(({ name }) => name === 'SignalWorkflow:taskGroupEnded');
  expect(signals.length).toBeGreaterThan(0);
  for (const signal of signals) {
    expect(chain(trace, signal).map(([name]) => name)).toEqual([
      'SignalWorkflow:taskGroupEnded',
      'steward.coordinator.v1.TaskGroupService/NotifyTaskStatus',
      'steward.coordinator.v1.TaskGroupService/NotifyTaskStatus',
      'report task-group',
      'deploy-task-group',
      SUBMIT,
      SUBMIT,
      expect.stringMatching(/^RunActivity:/),
      'RunWorkflow:runJob',
      'StartWorkflow:runJob',
      'steward job submit',
    ]);
  }
});

test('a command does its work while the collector is away, or takes and never answers', async () => {
  const holding = await startCollector();
  holding.hold();
  try {
    for (const url of ['http://127.0.0.1:9', holding.url]) {
      const listed = await cli(['node', 'list', '--json'], {
        OTEL_EXPORTER_OTLP_ENDPOINT: url,
        // Of one export: the command does not wait for it.
        OTEL_EXPORTER_OTLP_TIMEOUT: '600000',
      });
      expect(listed).toMatchObject({ code: 0, stderr: '' });
      expect(listed.document()).toMatchObject({ nodes: expect.any(Array) });
    }
    expect(holding.unanswered).toBe(1);
  } finally {
    await holding.close();
  }
});

test('a command that a signal ends sends its spans, and dies of the signal', async () => {
  await steward.database('left', 1);
  await slow(steward, ['node-1'], 'delete-region');
  const { child, ended } = startCommand(['database', 'delete', 'left', '--yes'], { env: environment() });
  await deletionsUnderWay(steward, ['node-1'], await groupsOf('left'));
  child.kill('SIGTERM');
  expect(await ended).toMatchObject({ code: null });
  expect(child.signalCode).toBe('SIGTERM');
  await steward.clearFaults('node-1');
  const trace = await wholeTrace('steward database delete', 'database/left/delete');
  expect(named(trace, 'steward database delete')).toMatchObject({ failed: true, message: 'SIGTERM' });
});

test('the sampler decides for all: what it leaves out is told by nobody', async () => {
  const listed = await cli(['database', 'create', 'unseen', '--data-groups', '1', '--replication', '1'], {
    OTEL_TRACES_SAMPLER: 'always_off',
  });
  expect(listed).toMatchObject({ code: 0 });
  expect(await cli(['database', 'create', 'seen', '--data-groups', '1', '--replication', '1'])).toMatchObject(
    { code: 0 },
  );
  const seen = await wholeTrace('steward database create', 'seen');
  expect(seen.length).toBeGreaterThan(3);
  expect(collector.spans.filter(({ attributes }) => attributes['steward.database'] === 'unseen')).toEqual([]);
});

test('no secret stands in what was sent, and what processes ask by themselves begins no trace', () => {
  const password = new URL(steward.databaseUrl).password;
  expect(collector.bodies.length).toBeGreaterThan(5);
  for (const secret of [TOKEN, COLLECTOR_KEY, password].filter(Boolean)) {
    expect(collector.bodies.filter((body) => body.includes(secret))).toEqual([]);
  }
  const first = collector.spans.filter(({ parentSpanId }) => parentSpanId === '').map(({ name }) => name);
  expect(first.filter((name) => !/^(steward [a-z-]+ [a-z-]+$|RunWorkflow:)/.test(name))).toEqual([]);
});

test('a deletion that a node goes on with after it was killed belongs to the call that asks again', async () => {
  const node = steward.node('node-3');
  await node.restart({ args: ['--delete-file-ms=250'] });
  await steward.database('resumed', 1);
  const deleting = cli(['database', 'delete', 'resumed', '--yes']);
  await deletionsUnderWay(steward, ['node-3'], await groupsOf('resumed'));
  await node.restart();
  expect(await deleting).toMatchObject({ code: 0 });
  const trace = await wholeTrace('steward database delete', 'database/resumed/delete');
  const deletions = trace.filter(({ name, by }) => name === 'delete-region' && by.endsWith('node-3'));
  expect(deletions.map(({ attributes }) => attributes['steward.outcome'])).toEqual(['SUCCESS']);
  expect(chain(trace, deletions[0]!)[1]).toEqual([SUBMIT, 'SERVER', 'steward-node node-3']);
});

test('a node that is told to end sends the spans that wait', async () => {
  const node = steward.node('node-3');
  await node.restart({ args: ['--delete-file-ms=0'], env: { OTEL_BSP_SCHEDULE_DELAY: '600000' } });
  await steward.database('ending', 1);
  await (await steward.client.databases.delete('ending')).result();
  const ofNode = () =>
    collector.spans.filter(
      ({ by, name, attributes }) =>
        by === 'steward-node node-3' &&
        name === 'delete-region' &&
        attributes['steward.operation.id'] === steward.effects('node-3', 'delete-region').at(-1),
    );
  expect(ofNode()).toEqual([]);
  await node.stop();
  expect(ofNode()).toHaveLength(1);
});

function cli(args: readonly string[], env: Record<string, string | undefined> = {}) {
  return command(args, { env: { ...environment(), ...env } });
}

function environment(): Record<string, string> {
  return {
    ...steward.clientEnv,
    ...transportEnv,
    ...tracingEnv,
  };
}

async function groupsOf(database: string): Promise<number[]> {
  return (await steward.client.regionGroups.list({ database })).map(({ groupId }) => groupId);
}

/** The trace that the command began for the operation, once every span in it but the first has its parent there. */
async function wholeTrace(first: string, operationId: string): Promise<ReceivedSpan[]> {
  return eventually(
    `the trace of ${operationId} is whole`,
    async () => {
      const ours = ({ attributes }: ReceivedSpan) => Object.values(attributes).includes(operationId);
      const roots = collector.spans.filter(({ name, parentSpanId }) => name === first && parentSpanId === '');
      const root = roots.find(({ traceId }) =>
        collector.spans.some((span) => span.traceId === traceId && ours(span)),
      );
      if (root === undefined) return undefined;
      const trace = collector.spans.filter(({ traceId }) => traceId === root.traceId);
      const known = new Set(trace.map(({ spanId }) => spanId));
      return trace.every((span) => span === root || known.has(span.parentSpanId)) && trace;
    },
    15_000,
  );
}

function named(trace: readonly ReceivedSpan[], name: string): ReceivedSpan {
  const found = trace.filter((span) => span.name === name);
  expect(found, name).toHaveLength(1);
  return found[0]!;
}

/** From a span up to the first of its trace. */
function chain(trace: readonly ReceivedSpan[], from: ReceivedSpan): (readonly [string, string, string])[] {
  const up = trace.find(({ spanId }) => spanId === from.parentSpanId);
  return [[from.name, from.kind, from.by] as const, ...(up === undefined ? [] : chain(trace, up))];
}

function byStart(one: ReceivedSpan, other: ReceivedSpan): number {
  return Number(one.startNs - other.startNs);
}

function repeat<T>(times: number, value: T): T[] {
  return Array.from({ length: times }, () => value);
}

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Code, type ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OptimizerGroupService } from '../../src/rpc/gen/steward/coordinator/v1/optimizer_groups_pb.js';
import { OptimizingService } from '../../src/rpc/gen/steward/coordinator/v1/optimizing_pb.js';
import { IngestStart_Format, TableService } from '../../src/rpc/gen/steward/coordinator/v1/tables_pb.js';
import { ensureSearchAttributes } from '../../src/temporal/search-attributes.js';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/ports.js';
import { startProgram, type TestProcess } from '../support/processes.js';
import { startTemporal, type TestTemporal } from '../support/temporal.js';
import { GROUP, type OptimizingRoom, optimizingRoom, rowsFrom, TARGET, upTo } from './optimizing-room.js';

let room: OptimizingRoom;
let temporal: TestTemporal;
let coordinator: TestProcess;
let session: Http2SessionManager;
let tables: ReturnType<typeof createClient<typeof TableService>>;
let groups: ReturnType<typeof createClient<typeof OptimizerGroupService>>;
let optimizing: ReturnType<typeof createClient<typeof OptimizingService>>;

beforeAll(async () => {
  [room, temporal] = await Promise.all([optimizingRoom(), startTemporal()]);
  await ensureSearchAttributes(temporal.connection, 'default');
  const listen = `127.0.0.1:${await freePort()}`;
  coordinator = await startProgram({
    name: 'coordinator',
    program: 'src/coordinator/main.ts',
    args: [`--listen=${listen}`],
    directory: room.directory,
    env: {
      DATABASE_URL: room.url,
      STEWARD_WAREHOUSE: room.warehouse,
      STEWARD_TARGET_FILE_BYTES: String(TARGET),
      STEWARD_LOCK_TIMEOUT_MS: '200',
      STEWARD_TASK_QUEUE: 'optimizing-service-test',
      TEMPORAL_ADDRESS: temporal.address,
      TEMPORAL_NAMESPACE: 'default',
    },
  });
  session = new Http2SessionManager(`http://${listen}`);
  const transport = createConnectTransport({
    baseUrl: `http://${listen}`,
    httpVersion: '2',
    sessionManager: session,
  });
  tables = createClient(TableService, transport);
  groups = createClient(OptimizerGroupService, transport);
  optimizing = createClient(OptimizingService, transport);
});
afterAll(async () => {
  session?.abort();
  await coordinator?.stop();
  await temporal?.stop();
  await room?.stop();
});

async function* upload(table: string, content: string, requestId: string = randomUUID()) {
  yield {
    part: {
      case: 'start' as const,
      value: {
        table,
        fileName: 'rows.csv',
        format: IngestStart_Format.CSV,
        requestId,
        actor: 'tester',
      },
    },
  };
  const bytes = Buffer.from(content);
  for (let at = 0; at < bytes.length; at += 7) {
    yield { part: { case: 'chunk' as const, value: new Uint8Array(bytes.subarray(at, at + 7)) } };
  }
}

async function filled(files: number): Promise<string> {
  const name = `t-${randomUUID().slice(0, 8)}`;
  await tables.createTable({ name, group: GROUP, actor: 'tester' });
  for (const file of upTo(files)) await tables.ingest(upload(name, rowsFrom(file * 3)));
  return name;
}

async function touch() {
  const resourceId = await room.resource();
  const { token } = await optimizing.touch({
    resourceId,
    group: GROUP,
    launch: 1n,
    threads: 1,
    memoryMb: 256,
  });
  return { resourceId, token };
}

async function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'OK',
    (error: ConnectError) => `${Code[error.code]}: ${error.rawMessage}`,
  );
}

function warnings(): { msg: string; table?: string; process?: number; cause?: string }[] {
  return readFileSync(coordinator.logFile, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as { level: number; msg: string })
    .filter(({ level }) => level === 40);
}

describe('the optimizing service', () => {
  it('takes a result in the name of a resource that is being released, and of no other', async () => {
    const table = await filled(3);
    const [{ resourceId, token }, other] = await Promise.all([touch(), touch()]);
    const process = await room.plan(table);
    const { task } = await optimizing.pollTask({ token });
    await optimizing.ackTask({ token, taskId: task!.taskId, attempt: 1 });
    await room.catalog
      .updateTable('optimizer_resource')
      .set({ state: 'RELEASING' })
      .where('resource_id', '=', resourceId)
      .execute();
    await room.catalog.deleteFrom('optimizer').where('resource_id', '=', resourceId).execute();
    const registration = { resourceId, group: GROUP, launch: 1n, threads: 1, memoryMb: 256 };
    expect(await codeOf(optimizing.touch(registration))).toMatch(/^FailedPrecondition: .* is being released/);
    const named = { taskId: task!.taskId, attempt: 1 };
    const result = { outcome: { case: 'error' as const, value: 'cut short' } };
    expect(await codeOf(optimizing.completeTask({ ...named, token, result }))).toMatch(/^NotFound/);
    expect(await codeOf(optimizing.completeTask({ ...named, result }))).toMatch(/^InvalidArgument/);
    const stranger = { ...named, resourceId: other.resourceId, result };
    expect(await codeOf(optimizing.completeTask(stranger))).toMatch(/^Aborted/);
    await optimizing.completeTask({ ...named, resourceId, result });
    const tasks = room.catalog.selectFrom('optimizing_task').where('process_id', '=', process);
    await eventually('the failure is settled: the task is planned again', async () => {
      const row = await tasks.select(['last_error', 'state']).executeTakeFirstOrThrow();
      return row.state === 'PLANNED' && row.last_error === 'cut short';
    });
    await room.catalog.deleteFrom('optimizing_task').where('process_id', '=', process).execute();
  });

  it('takes an optimizer from Touch to the start of commitTable', async () => {
    const table = await filled(3);
    const { resourceId, token } = await touch();
    expect(await optimizing.touch({ resourceId, token })).toMatchObject({ token });
    expect((await optimizing.pollTask({ token })).task).toBeUndefined();
    const process = await room.plan(table);
    const { task } = await optimizing.pollTask({ token });
    expect(task).toMatchObject({ taskId: `${process}/1`, attempt: 1 });
    expect(task!.inputs).toHaveLength(3);
    const named = { token, taskId: task!.taskId, attempt: 1 };
    await optimizing.ackTask(named);
    await optimizing.ackTask(named);
    const output = await room.merge({
      processId: process,
      taskNo: 1,
      attempt: 1,
      location: task!.location,
      inputs: await room.files(table),
      output: task!.output,
    });
    const result = {
      outcome: {
        case: 'merged' as const,
        value: { outputs: [{ path: output.path, rows: BigInt(output.rows), bytes: BigInt(output.bytes) }] },
      },
    };
    await optimizing.completeTask({ ...named, result });
    await optimizing.completeTask({ ...named, result });
    const { table: shown } = await tables.getTable({ name: table });
    const workflow = temporal.client.workflow.getHandle(`table/${shown!.tableId}/commit/${process}`);
    const started = await eventually('commitTable started', () => workflow.describe());
    expect(started.type).toBe('commitTable');
    expect(started.taskQueue).toBe('optimizing-service-test');
    const history = await workflow.fetchHistory();
    const input = history.events![0]!.workflowExecutionStartedEventAttributes!.input!.payloads![0]!.data!;
    expect(JSON.parse(Buffer.from(input).toString())).toEqual({ table, process, actor: 'coordinator' });
    const found = await tables.getTable({ name: table });
    expect(found.table).toMatchObject({ status: 'COMMITTING' });
    expect(found.process).toMatchObject({ state: 'RUNNING', tasks: [{ state: 'SUCCESS', resourceId }] });
    await workflow.terminate();
    await room.commit(process);
  });

  it('answers a completion whose T2 cannot have the lock, and says so in one warning', async () => {
    const table = await filled(3);
    const { token } = await touch();
    const process = await room.plan(table);
    const { task } = await optimizing.pollTask({ token });
    const named = { token, taskId: task!.taskId, attempt: 1 };
    await optimizing.ackTask(named);
    const result = {
      outcome: {
        case: 'merged' as const,
        value: { outputs: [{ path: task!.output, rows: 9n, bytes: 1n }] },
      },
    };
    await room.catalog.transaction().execute(async (holding) => {
      await holding.selectFrom('data_table').select('name').where('name', '=', table).forUpdate().execute();
      await optimizing.completeTask({ ...named, result });
      await eventually('the warning', () => warnings().some((line) => line.process === process));
    });
    expect(warnings().filter((line) => line.process === process)).toMatchObject([
      { msg: 'settling failed', table, process, cause: expect.stringContaining('lock timeout') },
    ]);
    expect(await room.tasks(process)).toMatchObject([{ state: 'SUCCESS', settled: false }]);
    expect(await room.status(table)).toMatchObject({
      status: 'MINOR_OPTIMIZING',
      processes: [{ state: 'RUNNING', committing_since: null }],
    });
    // A duplicate completion runs T2 again.
    await optimizing.completeTask({ ...named, result });
    await eventually('COMMITTING', async () => (await room.status(table)).status === 'COMMITTING');
  });

  it('answers what it refuses with a code that says what to do', async () => {
    const { resourceId, token } = await touch();
    const stranger = randomUUID();
    const registration = { resourceId, group: GROUP, launch: 1n, threads: 1, memoryMb: 256 };
    const named = { token, taskId: '999999/1', attempt: 1 };
    const result = { outcome: { case: 'error' as const, value: 'broken' } };
    expect(await codeOf(optimizing.pollTask({ token: stranger }))).toMatch(/^NotFound: token/);
    expect(await codeOf(optimizing.pollTask({ token: 'x' }))).toMatch(/^InvalidArgument: token/);
    expect(await codeOf(optimizing.touch({ resourceId, token: stranger }))).toMatch(/^NotFound: token/);
    expect(await codeOf(optimizing.touch({ ...registration, threads: 0 }))).toMatch(
      /^InvalidArgument: threads/,
    );
    expect(await codeOf(optimizing.touch({ ...registration, memoryMb: 1 }))).toMatch(
      /^InvalidArgument: memoryMb/,
    );
    expect(await codeOf(optimizing.touch({ ...registration, group: 'A B' }))).toMatch(
      /^InvalidArgument: group/,
    );
    expect(await codeOf(optimizing.touch({ ...registration, launch: 9n }))).toMatch(
      /^FailedPrecondition: launch 9/,
    );
    expect(await codeOf(optimizing.touch({ ...registration, resourceId: 'nobody' }))).toMatch(
      /^FailedPrecondition/,
    );
    expect(await codeOf(optimizing.ackTask({ ...named, taskId: '1' }))).toMatch(/^InvalidArgument: taskId/);
    expect(await codeOf(optimizing.ackTask(named))).toMatch(/^Aborted: attempt 1 of task 999999\/1 is stale/);
    expect(await codeOf(optimizing.completeTask({ ...named, result }))).toMatch(/^Aborted/);
    expect(await codeOf(optimizing.completeTask(named))).toMatch(/^InvalidArgument: result/);
    await room.catalog
      .updateTable('optimizer_resource')
      .set({ state: 'RELEASING' })
      .where('resource_id', '=', resourceId)
      .execute();
    expect(await codeOf(optimizing.pollTask({ token }))).toMatch(/^FailedPrecondition: .*released/);
    expect(await codeOf(optimizing.touch({ resourceId, token }))).toMatch(/^FailedPrecondition/);
  });
});

describe('the table service', () => {
  it('makes, fills, lists and shows tables, and names what stands in the way', async () => {
    await groups.createGroup({ name: 'idle-group', actor: 'tester' });
    const name = `shown-${randomUUID().slice(0, 8)}`;
    await tables.createTable({
      name,
      group: 'idle-group',
      columns: [
        { name: 'id', type: 'BIGINT' },
        { name: 'name', type: 'VARCHAR' },
      ],
      actor: 'tester',
    });
    const requestId = randomUUID();
    expect(await tables.ingest(upload(name, rowsFrom(0), requestId))).toMatchObject({
      rows: 3n,
      known: false,
    });
    expect(await tables.ingest(upload(name, rowsFrom(0), requestId))).toMatchObject({ known: true });
    const found = await tables.getTable({ name });
    expect(found).toMatchObject({
      table: { name, group: 'idle-group', status: 'IDLE', snapshotId: 1n, files: 1, smallFiles: 1, rows: 3n },
      files: [{ rows: 3n }],
      blockers: ['group idle-group has no live optimizer'],
    });
    expect(found.process).toBeUndefined();
    const page = await tables.listTables({ pageSize: 1 });
    const rest = await tables.listTables({ after: page.nextAfter });
    expect([...page.tables, ...rest.tables].map((table) => table.name)).toContain(name);
    expect(page.tables).toHaveLength(1);
    expect(rest.nextAfter).toBe('');
  });

  it('answers bad input with a code and one sentence', async () => {
    const table = await filled(0);
    const creation = { name: 'fine', group: GROUP, actor: 'tester' };
    expect(await codeOf(tables.createTable({ ...creation, name: table }))).toMatch(/^AlreadyExists/);
    expect(await codeOf(tables.createTable({ ...creation, name: '../etc' }))).toMatch(
      /^InvalidArgument: name/,
    );
    expect(await codeOf(tables.createTable({ ...creation, group: 'nobody' }))).toMatch(
      /^FailedPrecondition: optimizer group nobody/,
    );
    expect(await codeOf(tables.createTable({ ...creation, actor: '' }))).toMatch(/^InvalidArgument: actor/);
    expect(
      await codeOf(tables.createTable({ ...creation, columns: [{ name: 'a', type: 'BIGINT); DROP' }] })),
    ).toMatch(/^InvalidArgument: columns.0.type/);
    expect(await codeOf(tables.getTable({ name: 'nothing' }))).toMatch(/^NotFound: table nothing/);
    expect(await codeOf(tables.listTables({ pageSize: 1_001 }))).toMatch(/^InvalidArgument: pageSize/);
    expect(await codeOf(tables.ingest(upload('nothing', rowsFrom(0))))).toMatch(/^NotFound/);
    expect(await codeOf(tables.ingest(upload(table, rowsFrom(0), '')))).toMatch(
      /^InvalidArgument: requestId/,
    );
    expect(await codeOf(tables.ingest(upload(table, 'id,name\n1,a\n2\n')))).toMatch(
      /^InvalidArgument: rows.csv: CSV Error on Line: 3.*nothing was ingested$/,
    );
    expect(await room.status(table)).toMatchObject({ snapshotId: 0 });
  });
});

describe('the optimizer group service', () => {
  it('makes groups and shows them with their resources and optimizers', async () => {
    const name = `g-${randomUUID().slice(0, 8)}`;
    await groups.createGroup({ name, properties: { region: 'eu' }, actor: 'tester' });
    expect(await codeOf(groups.createGroup({ name, actor: 'tester' }))).toMatch(/^AlreadyExists/);
    expect(await codeOf(groups.createGroup({ name: 'No', actor: 'tester' }))).toMatch(
      /^InvalidArgument: name/,
    );
    expect(await codeOf(groups.getGroup({ name: 'nobody' }))).toMatch(/^NotFound/);
    expect(await groups.getGroup({ name })).toMatchObject({
      group: { name, container: 'local', properties: { region: 'eu' }, resources: [] },
    });
    const { resourceId } = await touch();
    const { groups: all } = await groups.listGroups({});
    const resources = all.find((group) => group.name === GROUP)!.resources;
    expect(resources.find((resource) => resource.resourceId === resourceId)).toMatchObject({
      state: 'REQUESTED',
      epoch: 1n,
      optimizer: { alive: true, launch: 1n },
    });
  });
});

it('a completion is answered, and the commit begun, while Temporal is away', async () => {
  const table = await filled(3);
  const { token } = await touch();
  const process = await room.plan(table);
  // Tasks that other tests left are taken first.
  let task = (await optimizing.pollTask({ token })).task;
  while (task !== undefined && !task.taskId.startsWith(`${process}/`)) {
    task = (await optimizing.pollTask({ token })).task;
  }
  await temporal.stop();
  const result = {
    outcome: { case: 'merged' as const, value: { outputs: [{ path: task!.output, rows: 9n, bytes: 1n }] } },
  };
  await optimizing.completeTask({ token, taskId: task!.taskId, attempt: 1, result });
  await eventually('COMMITTING', async () => (await room.status(table)).status === 'COMMITTING');
  const told = await eventually('the warning', () => warnings().find((line) => line.process === process));
  expect(told).toMatchObject({ msg: 'commitTable was not started', table, process });
});

import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';
import { type Ended, steward as run } from './steward-command.js';
import { hasTerminal, onTerminal, plain } from './terminal.js';

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward({ workerEnv: { STEWARD_CREATION_TIMEOUT_MS: '4000' } });
  await steward.nodesAlive();
}, 120_000);
afterEach(async () => {
  await steward.client.operations.resume(undefined).catch(() => {});
  await steward.client.nodes.limit(undefined, undefined);
  await steward.clearFaults();
});
afterAll(() => steward.stop());

function cli(line: string, ...rest: readonly string[]): Promise<Ended> {
  return run([...line.split(' '), ...rest], { env: steward.clientEnv });
}

async function slow(nodeId: string, target: string, ms: number): Promise<void> {
  await steward.fault(nodeId, { target, kind: { case: 'delay', value: durationFromMs(ms) } });
}

async function loadOf(nodeId: string, verb: string) {
  const { load } = await steward.rpc(nodeId).node.getNodeInfo({});
  return load.find((one) => one.verb === verb);
}

test('a node never runs more deletions than its limit, which is changed live and survives a restart', async () => {
  const groups = await steward.database('limited', 12);
  const limited = await cli('node limit node-1 --deletions 2');
  expect(limited.stdout).toMatch(/node-1 +deletions 2/);
  await eventually(
    'the node has heard it',
    async () => (await loadOf('node-1', 'delete-region'))?.limit === 2,
  );
  await slow('node-1', 'delete-region', 60_000);
  const removal = await steward.client.regionGroups.remove({ groups });
  const full = await eventually('all have been submitted', async () => {
    const load = await loadOf('node-1', 'delete-region');
    return load !== undefined && load.running + load.waiting === 12 && load;
  });
  expect(full).toMatchObject({ running: 2, waiting: 10 });
  const shown = await cli('node show node-1');
  expect(shown.stdout).toMatch(/limits +deletions 2\n/);
  expect(shown.stdout).toMatch(/delete-region +2 running, 10 wait, at most 2 at a time/);

  await cli('node limit node-1 --deletions 5');
  await eventually('five run', async () => (await loadOf('node-1', 'delete-region'))?.running === 5);

  await cli('node limit node-1 --deletions 3');
  await eventually('it has heard 3', async () => (await loadOf('node-1', 'delete-region'))?.limit === 3);
  await steward.coordinator.kill();
  await steward.node('node-1').restart({ args: ['--delete-file-ms=200'] });
  const resumed = await loadOf('node-1', 'delete-region');
  expect(resumed).toMatchObject({ limit: 3, running: 3 });
  await steward.coordinator.restart();
  await removal.result();
  expect(steward.regionsOnDisk('node-1')).toEqual([]);
}, 120_000);

test('limits of all nodes apply to those without their own', async () => {
  await cli('node limit --all --deletions 4 --creations 8');
  await cli('node limit node-2 --creations 1');
  const limits = async () =>
    Object.fromEntries((await steward.client.nodes.list()).map((node) => [node.nodeId, node.limits]));
  const all = { deletions: 4, creations: 8 };
  expect(await limits()).toEqual({ 'node-1': all, 'node-2': { creations: 1 }, 'node-3': all });
  await cli('node limit node-2 --none');
  expect(await limits()).toEqual({ 'node-1': all, 'node-2': all, 'node-3': all });
  const planned = await cli('node limit --all --none --dry-run');
  expect(planned.stdout).toMatch(/^would limit every node to: none; now:/);
  expect(await limits()).toEqual({ 'node-1': all, 'node-2': all, 'node-3': all });
  await cli('node limit --all --none');
  expect(await limits()).toEqual({ 'node-1': {}, 'node-2': {}, 'node-3': {} });
  for (const line of [
    'node limit node-1',
    'node limit --deletions 1',
    'node limit node-1 --deletions 1 --none',
  ]) {
    expect((await cli(line)).code, line).toBe(2);
  }
  expect((await cli('node limit node-9 --deletions 1')).code).toBe(2);
});

test('a paused removal submits nothing new, says by whom and why, and ends once it is resumed', async () => {
  const [group] = await steward.database('paused', 1);
  // Down while the pause comes, so that nothing has been submitted to it.
  await steward.node('node-2').kill();
  await slow('node-1', 'delete-region', 60_000);
  const removal = await steward.client.regionGroups.remove({ groups: [group!] });
  await eventually('node-1 is at work', async () => (await loadOf('node-1', 'delete-region'))?.running === 1);
  const paused = await cli(`operation pause ${removal.operationId} --reason`, 'disk of node-2 is swapped');
  expect(paused.stdout).toMatch(/is paused by tester since .*: disk of node-2 is swapped/);
  expect(paused.code).toBe(0);
  await steward.node('node-2').restart();
  const blocker = 'node-2: PAUSED by tester: disk of node-2 is swapped (1 not submitted)';
  await eventually('the blocker is told', async () => {
    const { blockers } = await steward.client.operations.get(removal.operationId);
    return blockers.includes(blocker);
  });
  // What runs at node-1 goes on to its end, and is recorded.
  await steward.clearFaults('node-1');
  await eventually('node-1 has done its part', async () => {
    const { progress } = await steward.client.operations.get(removal.operationId);
    return progress?.openByNode.map(({ nodeId }) => nodeId).join() === 'node-2';
  });
  const ours = steward.effects('node-2', 'delete-region').filter((id) => id.includes(`/${group}/`));
  expect(ours).toEqual([]);
  expect(steward.regionsOnDisk('node-2')).toContain(group);
  const page = await cli(`operation show ${removal.operationId}`);
  expect(page.stdout).toMatch(/paused +.* is paused by tester/);
  expect(page.stdout).toMatch(/BLOCKED BY\n[\s\S]*PAUSED by tester/);
  const listed = await eventually('the list shows it', async () => {
    const { stdout } = await cli('operation list');
    return stdout.includes(removal.operationId) && stdout;
  });
  expect(listed).toMatch(new RegExp(`${removal.operationId} +PAUSED`));

  await cli(`operation resume ${removal.operationId}`);
  expect(await removal.result()).toMatchObject({ outcome: 'REMOVED', groups: 1 });
  expect(steward.regionsOnDisk('node-2')).not.toContain(group);
  const again = await cli(`operation resume ${removal.operationId}`);
  expect(again.stderr).toMatch(/is not paused/);
  expect(again.code).not.toBe(0);
}, 120_000);

test('a pause of everything holds a creation without letting it time out, planning and heals, until it is resumed', async () => {
  await steward.client.databases.create({ name: 'held' });
  await cli('operation pause --all --reason', 'network works');
  const creation = await steward.client.regionGroups.create({
    database: 'held',
    kind: 'DATA',
    groups: 1,
    replicationFactor: 3,
  });
  const created = Date.now();
  const planning = await steward.client.operations.list({ running: true });
  expect(planning.every(({ paused }) => paused?.reason === 'network works')).toBe(true);
  await cli('schedule trigger steward/plan-optimizing');
  const blocked = async (operationId: string) => {
    const { blockers } = await steward.client.operations.get(operationId);
    return blockers.some((one) => one.includes('PAUSED with everything by tester: network works'));
  };
  await eventually('the creation is held', () => blocked(creation.operationId));
  await eventually('the planning is held', async () => {
    const running = await steward.client.operations.list({ running: true });
    const found = running.find(({ workflowType }) => workflowType === 'planOptimizing');
    return found !== undefined && blocked(found.operationId);
  });
  // Longer than its time-out.
  await eventually('the creation time-out is over', () => Date.now() - created > 6_000);
  expect(await blocked(creation.operationId)).toBe(true);
  for (const nodeId of ['node-1', 'node-2', 'node-3']) {
    const [group] = await steward.client.regionGroups.list({ database: 'held' });
    expect(steward.regionsOnDisk(nodeId)).not.toContain(group!.groupId);
  }
  const resumed = await cli('operation resume --all');
  expect(resumed.code).toBe(0);
  expect(await creation.result()).toMatchObject({ complete: 1 });
}, 120_000);

test('operations are listed by their actor, whatever it is called', async () => {
  const actors = ["o'neil", 'ops\\', `a'b\\'c`];
  const groups = await steward.database('acted', actors.length);
  await Promise.all(
    actors.map(async (actor, index) => {
      const { code } = await run(['region-group', 'remove', String(groups[index])], {
        env: { ...steward.clientEnv, STEWARD_ACTOR: actor },
      });
      expect(code).toBe(0);
    }),
  );
  for (const [index, actor] of actors.entries()) {
    await eventually(`that of ${actor} is listed alone`, async () => {
      const found = await steward.client.operations.list({ actor });
      return found.map(({ operationId }) => operationId).join() === `region-group/${groups[index]}/remove`;
    });
  }
  const { stdout } = await cli('operation list --all --actor', actors[0]!);
  expect(stdout).toContain(`region-group/${groups[0]}/remove`);
  expect(stdout).not.toContain(`region-group/${groups[1]}/remove`);
}, 60_000);

test.skipIf(!hasTerminal)(
  'what destroys asks on a terminal, and does nothing unless it is told yes',
  async () => {
    const [one, other] = await steward.database('asked', 2);
    const env = steward.clientEnv;
    const no = await onTerminal(['region-group', 'remove', String(one)], {
      env,
      input: 'n\n',
      typeAfter: '[y/N]',
    });
    const all = 'replicas on node-1 node-2 node-3';
    expect(oneLine(no.shown)).toContain(
      `remove region group ${one} (DATA of asked, RUNNING, ${all}) from every node? [y/N]`,
    );
    expect(plain(no.shown)).toContain('steward: not confirmed: nothing was changed');
    expect(no.code).toBe(1);
    expect((await steward.client.regionGroups.get(one!)).state).toBe('RUNNING');
    const yes = await onTerminal(['region-group', 'remove', String(one)], {
      env,
      input: 'y\n',
      typeAfter: '[y/N]',
    });
    expect(plain(yes.shown)).toContain('removed 1 region group with 3 replicas');
    expect(yes.code).toBe(0);
    const told = await onTerminal(['region-group', 'remove', String(other), '--yes'], { env });
    expect(plain(told.shown)).not.toContain('[y/N]');
    expect(told.code).toBe(0);
    const planned = await onTerminal(['database', 'delete', 'asked', '--dry-run'], { env });
    expect(plain(planned.shown)).not.toContain('[y/N]');
    const empty = await onTerminal(['database', 'delete', 'asked'], { env, input: '\n', typeAfter: '[y/N]' });
    expect(oneLine(empty.shown)).toContain(
      'delete database asked (ACTIVE) with its 0 region groups and 0 replicas, from every node? [y/N]',
    );
    expect(empty.code).toBe(1);
    // Nobody is there to be asked.
    const script = await cli('database delete asked');
    expect(script.stdout).toMatch(/^deleted database asked/);
  },
  60_000,
);

test.skipIf(!hasTerminal)(
  'what is not there, or is refused anyway, is told without a question, also where yes is said beforehand',
  async () => {
    await steward.client.optimizerGroups.create({ name: 'bare' });
    const [group] = await steward.database('looked', 1);
    const lines: readonly (readonly [line: string, told: RegExp, code: number])[] = [
      ['region-group remove 999', /region group 999 does not exist/, 2],
      ['region-group remove 999 --yes', /region group 999 does not exist/, 2],
      ['database delete nothing', /database nothing does not exist/, 2],
      ['operation cancel nothing', /operation nothing does not exist/, 2],
      ['job cancel nothing', /job nothing does not exist/, 2],
      ['optimizer-group forget-resource bare nothing', /has no resource nothing: it has none/, 2],
      ['optimizer-group forget-resource bare nothing --yes', /has no resource nothing: it has none/, 2],
      ['node kill nothing', /node nothing does not exist: known are node-1/, 2],
      ['node kill node-1', /node-1 at \S+ is no process of a local stack here/, 3],
      [`region-group forget-replica ${group} --node node-1`, /node-1 lives/, 3],
    ];
    await Promise.all(
      lines.map(async ([line, told, code]) => {
        const { shown, code: exit } = await onTerminal(line.split(' '), {
          env: steward.clientEnv,
          input: 'y\n',
          typeAfter: '[y/N]',
        });
        expect(oneLine(shown), line).toMatch(told);
        expect(shown, line).not.toContain('[y/N]');
        expect(exit, line).toBe(code);
      }),
    );
  },
  120_000,
);

test.skipIf(!hasTerminal)(
  'whoever is asked to end an operation is told what it does, and how far it is; one that has ended has no question',
  async () => {
    const [group] = await steward.database('ending', 1);
    await slow('node-1', 'delete-region', 60_000);
    const { operationId } = await steward.client.regionGroups.remove({ groups: [group!] });
    await eventually('node-1 alone is open', async () => {
      const { progress } = await steward.client.operations.get(operationId);
      return progress?.open === 1;
    });
    const cancel = () =>
      onTerminal(['operation', 'cancel', operationId], {
        env: steward.clientEnv,
        input: 'n\n',
        typeAfter: '[y/N]',
      });
    expect(oneLine((await cancel()).shown)).toMatch(
      new RegExp(
        `end ${operationId} early \\("remove region group ${group}".*, RUNNING for \\S+, 2 of 3 replicas\\)\\?`,
      ),
    );
    await steward.clearFaults('node-1');
    await steward.client.operations.handle(operationId).then((handle) => handle.result());
    const over = await cancel();
    expect(oneLine(over.shown)).toContain(`${operationId} has ended: there is nothing to cancel`);
    expect(over.shown).not.toContain('[y/N]');
    expect(over.code).toBe(2);
  },
  120_000,
);

/** What a terminal showed, without the breaks of its width. */
function oneLine(shown: string): string {
  return plain(shown).replaceAll('\n', ' ');
}

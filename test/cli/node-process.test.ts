import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { NodeDocument, NodeProcessDocument, NodesDocument } from '../../src/cli/documents.js';
import type { LocalStatus } from '../../src/local/status.js';
import { identityOf, isAlive } from '../../src/process-identity.js';
import { eventually } from '../support/eventually.js';
import { killWithUs, temporaryDirectory } from '../support/guard.js';
import { type Steward, startSteward } from '../support/steward.js';
import { type Ended, steward } from './steward-command.js';

describe('a node of the local stack', () => {
  let home: ReturnType<typeof temporaryDirectory>;
  beforeEach(async () => {
    home = temporaryDirectory('cli-node');
    const started = await cli('local start --detach --json');
    expect(started.code, started.stderr).toBe(0);
    killWithUs(identityOf((started.document() as LocalStatus).supervisorPid!)!);
  }, 90_000);
  afterEach(async () => {
    await cli('local stop');
    await home.remove();
  }, 90_000);

  function cli(line: string): Promise<Ended> {
    const env = {
      STEWARD_HOME: home.path,
      STEWARD_NODE_TIMEOUT_MS: '1500',
      STEWARD_HEARTBEAT_INTERVAL_MS: '300',
    };
    return steward(line.split(' '), { env });
  }

  async function node2(): Promise<NodeDocument['node']> {
    return ((await cli('node show node-2 --json')).document() as NodeDocument).node;
  }

  async function becomes(alive: boolean): Promise<NodeDocument['node']> {
    return eventually(`node-2 is ${alive ? '' : 'not '}alive`, async () => {
      const node = await node2();
      return node.alive === alive ? node : undefined;
    });
  }

  async function act(line: string): Promise<NodeProcessDocument> {
    const ended = await cli(`node ${line} --json`);
    expect(ended.code, ended.stderr).toBe(0);
    return ended.document() as NodeProcessDocument;
  }

  test('is paused, and seen to be silent; is resumed, and is the same process', async () => {
    const before = await becomes(true);
    const pid = before.process!.pid!;
    expect((await cli('node pause node-2 --dry-run')).stdout).toBe(
      `would pause node-2 (running, pid ${pid})\n`,
    );
    expect((await node2()).process).toEqual({ state: 'running', pid });

    expect((await cli('node pause node-2')).stdout).toBe(`node-2: paused (SIGSTOP), pid ${pid}\n`);
    expect(await act('pause node-2')).toMatchObject({ process: { state: 'paused' } });
    const silent = await becomes(false);
    expect(silent.process).toEqual({ state: 'paused', pid });
    expect(isAlive(identityOf(pid)!)).toBe(true);
    const [shown, listed, fault] = await Promise.all([
      cli('node show node-2'),
      cli('node list'),
      cli('node fault node-2 --list'),
    ]);
    expect(shown.stdout).toMatch(/state +not alive, paused\nheard +silent for [\d.]+s\n/);
    expect(shown.stdout).toContain(`process       paused (SIGSTOP), pid ${pid}\n`);
    expect(listed.stdout).toMatch(/node-2 +not alive,.* silent for [\d.]+s/);
    expect(listed.stdout).toMatch(/node-1 +alive .* ago/);
    expect(fault.stderr).toMatch(/^steward: node-2 at http:.* did not answer in time/);

    expect(await act('resume node-2')).toMatchObject({ process: { state: 'running', pid } });
    expect((await becomes(true)).process).toEqual({ state: 'running', pid });
    expect((await cli('node show node-2')).stdout).toMatch(/state +alive\nheard +[\d.]+s ago\n/);
  }, 60_000);

  test('is killed and stays down until it is resumed, or until its time has come', async () => {
    const pid = (await becomes(true)).process!.pid!;
    expect((await cli('node kill node-2')).stdout).toBe(
      'node-2: stopped; it stays down until it is resumed\n',
    );
    expect(identityOf(pid)).toBeUndefined();
    const silent = await becomes(false);
    expect(silent.process).toEqual({ state: 'stopped' });
    expect((await cli('node list')).stdout).toMatch(/node-2 +not alive,.* silent for/);

    const refused = await cli('node pause node-2');
    expect(refused.stderr).toBe('steward: node-2 is stopped: only what is running can be paused\n');
    expect(refused.code).toBe(3);

    const back = await act('resume node-2');
    expect(back).toMatchObject({ command: { action: 'restart' }, process: { state: 'running' } });
    const revived = await becomes(true);
    expect(revived.process!.pid).not.toBe(pid);
    expect(revived.incarnation).toBeGreaterThan(silent.incarnation);
    expect(revived.ledgerId).toBe(silent.ledgerId);

    const plan = await act('kill node-2 --restart-after 1s --dry-run');
    expect(plan).toEqual({
      dryRun: true,
      plan: {
        nodeId: 'node-2',
        process: revived.process,
        command: { action: 'kill', process: 'node-2', restartAfterMs: 1_000 },
      },
    });
    expect((await node2()).process).toEqual(revived.process);
    expect((await cli('node kill node-2 --restart-after 1s')).stdout).toBe(
      'node-2: stopped; it starts again after 1.0s\n',
    );
    const again = await eventually('node-2 is back', async () => {
      const { process } = await node2();
      return process?.state === 'running' ? process : undefined;
    });
    expect(again.pid).not.toBe(revived.process!.pid);
    await becomes(true);
  }, 60_000);

  test('is told from one of another Steward that has the same name', async () => {
    const other = await startSteward({ nodes: 2 });
    try {
      await other.nodesAlive();
      const line = `node pause node-2 --coordinator ${other.coordinatorUrl}`;
      const refused = await cli(line);
      expect(refused.stderr).toMatch(/^steward: node-2 at http:.* is no process of a local stack here/);
      expect(refused.code).toBe(3);
      const listed = await cli(`node list --json --coordinator ${other.coordinatorUrl}`);
      for (const node of (listed.document() as NodesDocument).nodes) expect(node.process).toBeUndefined();
      expect((await node2()).process).toMatchObject({ state: 'running' });
    } finally {
      await other.stop();
    }
  }, 60_000);
});

describe('a node that no local stack runs', () => {
  let cluster: Steward;
  beforeAll(async () => {
    cluster = await startSteward({ nodes: 1 });
    await cluster.addNode('careful', { allowFaults: false });
    await cluster.nodesAlive();
  });
  afterAll(() => cluster.stop());

  const cli = (line: string): Promise<Ended> =>
    steward(line.split(' '), {
      env: cluster.clientEnv,
    });

  test.each([
    'node kill careful',
    'node kill careful --restart-after 1s --dry-run',
    'node pause careful',
    'node resume careful',
    'node fault careful --rpc Submit --delay 1s',
    'node fault careful --list',
  ])('steward %s is refused with exit code 3: it was started without --allow-faults', async (line) => {
    const [person, program] = [await cli(line), await cli(`${line} --json`)];
    expect(person.stderr).toMatch(/^steward: careful .*started without --allow-faults.*\n$/);
    expect(person.stdout).toBe('');
    expect([person.code, program.code]).toEqual([3, 3]);
    expect(program.document()).toMatchObject({
      error: { code: 'REJECTED', details: 'FAULTS_NOT_ALLOWED' },
    });
    expect(cluster.node('careful').running).toBe(true);
  });

  test.each(['kill', 'pause', 'resume'])(
    'node %s says that what started the node must do it',
    async (how) => {
      const refused = await cli(`node ${how} node-1 --json`);
      expect(refused.stderr).toMatch(/no process of a local stack here: only what started it can do that/);
      expect(refused.document()).toMatchObject({
        error: { code: 'REJECTED', details: 'NOT_SUPERVISED_HERE' },
      });
      expect(refused.code).toBe(3);
      expect(cluster.node('node-1').running).toBe(true);
    },
  );

  test('a node that does not exist is bad input', async () => {
    const refused = await cli('node kill node-9');
    expect(refused.stderr).toBe('steward: node node-9 does not exist: known are careful, node-1\n');
    expect(refused.code).toBe(2);
  });
});

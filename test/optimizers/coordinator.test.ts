import type { AddressInfo } from 'node:net';
import { createServer, type Server, type Socket } from 'node:net';
import { Code } from '@connectrpc/connect';
import { afterEach, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { benchForEachTest } from './optimizer-process.js';
import { rowsOf } from './parquet.js';

const bench = benchForEachTest();

describe('a coordinator that is away', () => {
  test('while the optimizer starts: it is found later', async () => {
    await bench.coordinator.stop();
    await bench.start();
    await bench.until('cannot reach the coordinator; trying again');
    const task = await bench.task();
    await bench.coordinator.start();
    await bench.done(task);
  });

  test('while a result waits: it is completed later, and merged once', async () => {
    const task = await bench.task();
    await bench.start('--property=merge-delay-ms=300');
    await eventually('the task is begun', () => bench.coordinator.stateOf('p1/1') === 'ACKED');
    await bench.coordinator.stop();
    await eventually('the result waits', () => bench.outbox().length === 1);
    await bench.until('cannot reach the coordinator; trying again');
    await bench.coordinator.start();
    await bench.done(task);
    expect(bench.count('merge done')).toBe(1);
    expect(await rowsOf(bench.location, task.output)).toHaveLength(30);
  });
});

describe('a token that is not valid any more', () => {
  test('is replaced by one registration, and the work goes on', async () => {
    await bench.start('--threads=4');
    await bench.until('registered');
    bench.coordinator.forgetToken();
    await bench.until('registered', 2);
    const tasks = [await bench.task('1'), await bench.task('2'), await bench.task('3')];
    for (const task of tasks) await bench.done(task);
    expect(bench.coordinator.registered).toHaveLength(2);
    expect(bench.process!.running).toBe(true);
  });

  test('is not replaced once more for a call that learns of it later', async () => {
    await bench.start('--threads=2');
    await bench.until('registered');
    bench.coordinator.holdPollRefusal = async () => {
      await eventually('a heartbeat has registered again', () => bench.coordinator.registered.length > 1);
    };
    bench.coordinator.forgetToken();
    await bench.until('registered', 2);
    const polls = () => bench.coordinator.calls.filter((call) => call === 'PollTask').length;
    const before = polls();
    await eventually('both threads poll again', () => polls() > before + 10);
    expect(bench.coordinator.registered).toHaveLength(2);
  });

  test('in the middle of a merge: the result is completed with the new one', async () => {
    const task = await bench.task();
    await bench.start('--property=merge-delay-ms=400');
    await eventually('the task is begun', () => bench.coordinator.stateOf('p1/1') === 'ACKED');
    bench.coordinator.forgetToken();
    await bench.done(task);
    expect(bench.count('merge done')).toBe(1);
    expect(bench.coordinator.completions.at(-1)!.token).toBe('token-2');
  });
});

describe('an optimizer that is told to end', () => {
  test.each(['Register', 'Touch', 'PollTask', 'AckTask', 'CompleteTask'])(
    'by the answer to %s exits with 3',
    async (refused) => {
      await bench.task();
      bench.coordinator.refuse = (call) => (call === refused ? Code.FailedPrecondition : undefined);
      const started = await bench.start();
      expect((await started.exited).code).toBe(3);
      expect(bench.outbox()).toHaveLength(refused === 'CompleteTask' ? 1 : bench.outbox().length);
    },
  );
});

test('heartbeats come at the interval that was told, also while it merges', async () => {
  bench.coordinator.heartbeatMs = 50;
  await bench.task();
  await bench.start('--property=hold-at=acked');
  await bench.until('holding');
  const before = bench.coordinator.calls.filter((call) => call === 'Touch').length;
  await eventually('it goes on touching', () => {
    return bench.coordinator.calls.filter((call) => call === 'Touch').length >= before + 5;
  });
});

describe('a connection that breaks', () => {
  let proxy: ResettingProxy | undefined;
  afterEach(() => proxy?.stop());

  test('while a result is told is no verdict: the result is told again, and its output stays', async () => {
    const task = await bench.task();
    proxy = new ResettingProxy(Number(new URL(bench.coordinator.url).port));
    await bench.start('--property=merge-delay-ms=200', `--coordinator=${await proxy.start()}`);
    await eventually('the task is begun', () => bench.coordinator.stateOf('p1/1') === 'ACKED');
    // From now on every connection is reset as soon as the optimizer has said something.
    proxy.reset = true;
    await bench.until('cannot reach the coordinator; trying again');
    await eventually('the result was tried', () => bench.count('merge done') === 1 && proxy!.resets >= 5);
    expect([bench.outbox().length, bench.outputs()]).toEqual([1, ['1-1.parquet']]);
    proxy.reset = false;
    await bench.done(task);
    expect(bench.outputs()).toEqual(['1-1.parquet']);
    expect(bench.count('merge done')).toBe(1);
  });
});

/** Hands bytes on, or resets (RST) every connection once the coordinator has begun to answer. */
class ResettingProxy {
  reset = false;
  resets = 0;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(private readonly port: number) {}

  async start(): Promise<string> {
    const { connect } = await import('node:net');
    this.#server = createServer((client) => {
      const upstream = connect(this.port, '127.0.0.1');
      for (const socket of [client, upstream]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined);
        socket.once('close', () => {
          this.#sockets.delete(socket);
          client.destroy();
          upstream.destroy();
        });
      }
      upstream.on('data', (bytes) => client.write(bytes));
      client.on('data', (bytes) => {
        upstream.write(bytes);
        if (!this.reset) return;
        this.resets += 1;
        client.resetAndDestroy();
      });
    });
    await new Promise<void>((resolve) => this.#server!.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server?.close();
  }
}

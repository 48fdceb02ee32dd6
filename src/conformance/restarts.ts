import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { askNodeInfo, type Target, TargetError, watchConnection } from './target.js';

/** The node was not restarted as the kit was told that it would be. */
export class RestartFailed extends Error {
  override readonly name = 'RestartFailed';
}

const ANSWERS_WITHIN_MS = 60_000;
const CONNECTION_GONE_WITHIN_MS = 2_000;
const LOOK_EVERY_MS = 20;

interface Arrival {
  readonly alongside: () => Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Restarts the node once for many checks: a check that wants a restart waits until every other one that has not ended
 * wants it as well. So a check is written as if it were alone, and all of them together cost one restart for each time
 * that one of them asks.
 */
export class Restarts {
  #taking = 0;
  #arrived: Arrival[] = [];

  constructor(private readonly restart: (alongside: () => Promise<void>) => Promise<void>) {}

  /** A check begins that may want restarts. Call before any of the checks runs. */
  join(): void {
    this.#taking += 1;
  }

  /** The check has ended; nobody waits for it any longer. */
  leave(): void {
    this.#taking -= 1;
    this.#restartWhenAllWait();
  }

  /** Resolves when the node was restarted and answers. `alongside` runs while it is being killed; its errors are its own. */
  async wanted(alongside: () => Promise<void> = async () => undefined): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#arrived.push({ alongside, resolve, reject });
      this.#restartWhenAllWait();
    });
  }

  #restartWhenAllWait(): void {
    if (this.#arrived.length === 0 || this.#arrived.length < this.#taking) return;
    const arrived = this.#arrived;
    this.#arrived = [];
    const alongside = async (): Promise<void> => {
      await Promise.allSettled(arrived.map((one) => one.alongside()));
    };
    this.restart(alongside).then(
      () => {
        for (const { resolve } of arrived) resolve();
      },
      (error: unknown) => {
        for (const { reject } of arrived) reject(error);
      },
    );
  }
}

/**
 * Restarts the node by `restart` and waits until it answers. That it was really killed shows in a connection that was
 * open before and is gone afterwards. Throws RestartFailed.
 */
export async function restartNode(
  target: Target,
  restart: () => Promise<void>,
  alongside: () => Promise<void>,
): Promise<void> {
  const connection = await watchConnection(target);
  try {
    const beside = alongside();
    await restart();
    await untilItAnswers(target);
    await beside;
    const stillOpen = pause(CONNECTION_GONE_WITHIN_MS, 'open' as const);
    if ((await Promise.race([connection.closed, stillOpen])) === 'open') {
      throw new RestartFailed('the node was not killed: a connection from before the restart is still open');
    }
  } finally {
    connection.close();
  }
}

async function untilItAnswers(target: Target): Promise<void> {
  const deadline = performance.now() + ANSWERS_WITHIN_MS;
  for (;;) {
    try {
      await askNodeInfo(target);
      return;
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      if (performance.now() > deadline) {
        const seconds = ANSWERS_WITHIN_MS / 1_000;
        throw new RestartFailed(`the node does not answer ${seconds} s after its restart: ${error.message}`, {
          cause: error,
        });
      }
      await pause(LOOK_EVERY_MS);
    }
  }
}

/** Runs the command with a shell; rejects with RestartFailed when it does not end with 0. */
export function restartCommand(command: string): () => Promise<void> {
  return async () => {
    // A file, not a pipe: the node that the command starts may hold it open, and must outlive this process.
    const directory = mkdtempSync(join(tmpdir(), 'steward-conformance-'));
    const output = join(directory, 'restart.log');
    const file = openSync(output, 'a');
    try {
      const child = spawn(command, { shell: true, stdio: ['ignore', file, file] });
      const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
      if (code === 0) return;
      const why = readFileSync(output, 'utf8').trim().split('\n').slice(-3).join(' ');
      throw new RestartFailed(`the restart command ended with ${code ?? signal}${why && `: ${why}`}`);
    } finally {
      closeSync(file);
      rmSync(directory, { recursive: true, force: true });
    }
  };
}

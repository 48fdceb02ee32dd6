import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import type { HoldPoint } from '../../src/optimizer/properties.js';
import type { MergeTask } from '../../src/optimizer/task.js';
import { isAlive } from '../../src/process-identity.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { startProgram, type TestProcess } from '../support/processes.js';
import { smallFiles } from './parquet.js';
import { StandInCoordinator } from './stand-in-coordinator.js';

export interface LogLine {
  readonly msg?: string;
  readonly task?: string;
  readonly point?: string;
  readonly [key: string]: unknown;
}

/** An optimizer for each test, as a process of its own, with a stand-in for its coordinator and a table to merge. */
export class Bench {
  coordinator = new StandInCoordinator();
  process: TestProcess | undefined;
  home = '';
  /** The table's location. */
  location = '';
  #removeHome: () => Promise<void> = async () => undefined;

  get directory(): string {
    return join(this.home, 'optimizer');
  }

  async open(): Promise<void> {
    const { path, remove } = temporaryDirectory('optimizer');
    this.home = path;
    this.location = join(path, 'table');
    this.#removeHome = remove;
    this.coordinator = new StandInCoordinator();
    await this.coordinator.start();
  }

  async close(): Promise<void> {
    if (this.process?.running) await this.process.kill();
    this.process = undefined;
    await this.coordinator.stop();
    await this.#removeHome();
  }

  /** Starts the optimizer, or starts it again in the same directory; kills it before when it still runs. */
  async start(...flags: readonly string[]): Promise<TestProcess> {
    if (this.process?.running) await this.process.kill();
    this.process = await startProgram({
      name: 'optimizer',
      program: 'src/optimizer/main.ts',
      directory: this.home,
      args: [
        '--resource=r1',
        '--group=default',
        `--coordinator=${this.coordinator.url}`,
        `--directory=${this.directory}`,
        ...flags,
      ],
    });
    return this.process;
  }

  /** Has it hold at this point of the task, and kills it there. */
  async killAt(point: HoldPoint): Promise<void> {
    await this.start(`--property=hold-at=${point}`);
    await this.until('holding');
    await this.process!.kill();
  }

  /** Plans a task over small files. */
  async task(id = '1', files = 3): Promise<MergeTask> {
    const inputs = await smallFiles(this.location, files);
    const task = {
      taskId: `p1/${id}`,
      attempt: 1,
      location: this.location,
      inputs,
      output: `data/${id}-1.parquet`,
    };
    this.coordinator.plan(task);
    return task;
  }

  /** Resolves when the coordinator has the result of the task. */
  async done(task: MergeTask): Promise<void> {
    await eventually(`${task.taskId} is done`, () => {
      return this.coordinator.stateOf(task.taskId, task.attempt) === 'DONE';
    });
    await eventually('the outbox is empty', () => this.outbox().length === 0);
  }

  /** Lines of the log, of all processes so far. */
  log(): LogLine[] {
    return linesOf(join(this.home, 'optimizer.log'));
  }

  /** How often something was logged. */
  count(msg: string): number {
    return this.log().filter((line) => line.msg === msg).length;
  }

  async until(msg: string, times = 1): Promise<void> {
    await eventually(`the log says ${times} times "${msg}"`, () => this.count(msg) >= times);
  }

  outbox(): string[] {
    return namesIn(join(this.directory, 'outbox'));
  }

  running(): string[] {
    return namesIn(join(this.directory, 'running'));
  }

  /** Files of the table, without the small ones. */
  outputs(): string[] {
    return namesIn(join(this.location, 'data')).filter((name) => !name.startsWith('small-'));
  }
}

export function benchForEachTest(): Bench {
  const bench = new Bench();
  beforeEach(() => bench.open());
  afterEach(() => bench.close());
  return bench;
}

/** Whole JSON lines of a log. */
export function linesOf(file: string): LogLine[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => {
      try {
        return [JSON.parse(line) as LogLine];
      } catch {
        return [];
      }
    });
}

export function namesIn(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory).sort() : [];
}

/** Whether the process that `<pid>@<start>` names lives. */
export function lives(processId: string): boolean {
  const at = processId.indexOf('@');
  return isAlive({ pid: Number(processId.slice(0, at)), startedAt: processId.slice(at + 1) });
}

import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { logTail } from '../local/log-file.js';
import type { Logger } from '../log.js';
import type { TransportSettings } from '../model/transport.js';
import type { Desired, Place } from '../optimizer/place.js';
import { endProcess, identityOf, type ProcessIdentity } from '../process-identity.js';
import { builtProgram } from '../project.js';
import type { ResourceKey } from './operation.js';

export interface OptimizerProcessOptions {
  /** Base URL that optimizers are given. */
  readonly coordinator: string;
  /** The node's own, from its flags and environment; optimizers reach the coordinator with the same. */
  readonly transport: TransportSettings;
  readonly nodeId: string;
  /** Directory of the faults that strike merges; undefined for a node that takes none. */
  readonly mergeFaults: string | undefined;
  /** Optimizers end when this process is gone, whatever becomes of the node. */
  readonly exitWith: ProcessIdentity | undefined;
  readonly log: Logger;
}

/** A child that was spawned; whether it got its place is another question. */
export interface Spawned {
  /** Undefined when it ended before it could be looked at. */
  readonly identity: ProcessIdentity | undefined;
  /** Resolves when it is gone, with what it says for itself. */
  readonly exited: Promise<Exit>;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last lines of its log. */
  readonly lastWords: string;
}

/** Its log is for people: a few lines are enough to see why it ended. */
const LAST_WORDS = 3;
/** What a merge, and the files around it, keep of libuv's threads besides those that merges block. */
const SPARE_POOL_THREADS = 4;
/** Longer than an optimizer takes to stop, shorter than the node has for its own stop. */
const STOP_TIMEOUT_MS = 3000;

/** Spawns an optimizer for what is desired in the place; it goes on when the node's process is killed. */
export function spawnOptimizer(
  key: ResourceKey,
  place: Place,
  desired: Desired,
  /** File descriptor of its log; closed here. */
  log: number,
  options: OptimizerProcessOptions,
): Spawned {
  try {
    const child = spawn(
      process.execPath,
      [builtProgram('src/optimizer/main.ts'), ...flags(key, place, desired, options)],
      {
        // A process group of its own: a Ctrl-C on the terminal is for the node, which ends them in its order.
        detached: true,
        stdio: ['ignore', log, log],
        env: {
          ...process.env,
          ...transportVariables(options.transport),
          UV_THREADPOOL_SIZE: String(desired.threads + SPARE_POOL_THREADS),
        },
      },
    );
    const identity = child.pid === undefined ? undefined : identityOf(child.pid);
    const exited = new Promise<Exit>((resolve) => {
      child.once('error', (error) => resolve({ code: null, signal: null, lastWords: error.message }));
      child.once('exit', (code, signal) =>
        resolve({ code, signal, lastWords: logTail(place.log, LAST_WORDS) }),
      );
    });
    child.unref();
    options.log.info({ ...key, launch: desired.launch, pid: child.pid }, 'optimizer process spawned');
    void exited.then(({ code, signal }) => {
      options.log.info(
        { ...key, launch: desired.launch, pid: child.pid, code, signal },
        'optimizer process ended',
      );
    });
    return { identity, exited };
  } finally {
    closeSync(log);
  }
}

/** Ends an optimizer, ours or one that a node before us had started. */
export async function endOptimizer(identity: ProcessIdentity): Promise<void> {
  await endProcess(identity, 'SIGTERM', STOP_TIMEOUT_MS);
}

function transportVariables({ tls, tokenFile, allowPlainText }: TransportSettings): NodeJS.ProcessEnv {
  return {
    STEWARD_TLS_CERT: tls.cert,
    STEWARD_TLS_KEY: tls.key,
    STEWARD_TLS_CA: tls.ca,
    STEWARD_TOKEN_FILE: tokenFile,
    STEWARD_ALLOW_PLAIN_TEXT: String(allowPlainText),
  };
}

function flags(
  { resourceId }: ResourceKey,
  place: Place,
  { launch, group, threads, memoryMb, properties }: Desired,
  { coordinator, nodeId, mergeFaults, exitWith }: OptimizerProcessOptions,
): string[] {
  return [
    `--resource=${resourceId}`,
    `--group=${group}`,
    `--launch=${launch}`,
    `--threads=${threads}`,
    `--memory-mb=${memoryMb}`,
    `--coordinator=${coordinator}`,
    `--node=${nodeId}`,
    `--directory=${place.directory}`,
    ...Object.entries(properties).map(([key, value]) => `--property=${key}=${value}`),
    ...(mergeFaults === undefined ? [] : [`--faults=${mergeFaults}`]),
    ...(exitWith === undefined ? [] : [`--exit-with=${exitWith.pid}@${exitWith.startedAt}`]),
  ];
}

import type { OperationHandle } from '../client/index.js';
import { untraced } from '../tracing/tracing.js';
import type { OperationEnd } from './documents.js';
import { OperationError } from './failure.js';
import { ProgressLine } from './progress.js';
import { printLine } from './terminal.js';
import { lookAgain } from './words.js';

export interface Waiting {
  readonly wait: boolean;
  /** Milliseconds. */
  readonly timeout?: number | undefined;
  /** That it runs already is no news. */
  readonly isKnownToRun?: boolean;
}

export type Waited<T> = { readonly outcome: 'STARTED' } | { readonly outcome: 'DONE'; readonly result: T };

/**
 * Waits for an operation, with a live line on a terminal. Ctrl-C and `--timeout` give up the waiting: the operation goes
 * on. Given the operation as it is being started, so that a Ctrl-C in that moment is answered like every other.
 *
 * @throws OperationError when it did not end as asked, or is not waited for any longer
 */
export async function waitFor<T>(
  label: string,
  starting: Promise<OperationHandle<T>> | OperationHandle<T>,
  { wait, timeout, isKnownToRun = false }: Waiting,
): Promise<Waited<T>> {
  const detached = new AbortController();
  const detach = () => detached.abort();
  process.once('SIGINT', detach);
  try {
    const handle = await starting;
    if (!wait) return { outcome: 'STARTED' };
    if (handle.attached && !isKnownToRun) printLine(`it runs already: waiting for ${handle.operationId}`);
    return await waitOrDetach(label, handle, timeout, detached.signal);
  } finally {
    process.removeListener('SIGINT', detach);
  }
}

async function waitOrDetach<T>(
  label: string,
  handle: OperationHandle<T>,
  timeout: number | undefined,
  detached: AbortSignal,
): Promise<Waited<T>> {
  const watching = new AbortController();
  const line = new ProgressLine(label);
  const watched = process.stderr.isTTY
    ? untraced(() => handle.watch((description) => line.show(description), { signal: watching.signal }))
    : Promise.resolve();
  try {
    return { outcome: 'DONE', result: await handle.result({ timeoutMs: timeout, signal: detached }) };
  } catch (error) {
    throw await asOperationError(error, handle, detached.aborted);
  } finally {
    watching.abort();
    line.end();
    // A look that failed has no say: the result has.
    await watched.catch(() => {});
  }
}

/** As it stands in a document. */
export function operationEnd<T>({ operationId, runId }: OperationHandle<T>, waited: Waited<T>): OperationEnd {
  return { operationId, runId, ...waited };
}

async function asOperationError<T>(
  thrown: unknown,
  { operationId, runId }: OperationHandle<T>,
  detached: boolean,
): Promise<OperationError> {
  const { StewardError } = await import('../client/errors.js');
  const error = StewardError.from(thrown);
  const operation = { operationId, runId };
  if (error.code !== 'TIMED_OUT' && error.code !== 'UNAVAILABLE') return new OperationError(error, operation);
  const why =
    error.code === 'UNAVAILABLE' ? error.message : detached ? 'stopped waiting' : 'waited long enough';
  const message = `${why}: the operation goes on; look again with: ${lookAgain(operationId)}`;
  return new OperationError(new StewardError('TIMED_OUT', message, { cause: error }), operation);
}

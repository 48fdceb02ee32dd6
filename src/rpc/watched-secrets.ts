import type { Logger } from '../log.js';
import { WrongTransport } from '../model/transport.js';
import { reasonOf, WatchedFiles } from './watched-files.js';

export interface SecretFiles<T> {
  /** What people call them, in the plural. */
  readonly what: string;
  readonly paths: readonly string[];
  readonly pollMs: number;
  readonly parse: (contents: readonly string[]) => T;
  /** What the log may tell of them. */
  readonly about: (value: T) => object;
  readonly changed?: () => void;
}

/**
 * Secrets that are read again when their files change; a half-written or bad file keeps the old ones in use, with a WARN.
 * Throws WrongTransport when they cannot be used now.
 */
export function watchSecrets<T>(
  { what, paths, pollMs, parse, about, changed }: SecretFiles<T>,
  log: Pick<Logger, 'info' | 'warn'>,
): WatchedFiles<T> {
  try {
    return new WatchedFiles({
      paths,
      parse,
      pollMs,
      onChange: (value) => {
        log.info({ ...about(value) }, `the ${what} changed and are in use`);
        changed?.();
      },
      onProblem: (problem) => {
        log.warn({ problem }, `the ${what} changed and cannot be used; the old ones stay in use`);
      },
    });
  } catch (error) {
    throw new WrongTransport(`the ${what} cannot be used: ${reasonOf(error)}`);
  }
}

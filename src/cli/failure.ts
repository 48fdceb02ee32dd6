import { CommanderError } from 'commander';
import type { StewardError, StewardErrorCode } from '../client/index.js';
import type { LocalStackError } from '../local/errors.js';
import type { ErrorDocument } from './documents.js';
import { printLine } from './terminal.js';
import { lookAgain } from './words.js';

export type ExitCode = 1 | 2 | 3 | 4;

export const EXIT_CODES = [
  [0, 'done'],
  [1, 'failed'],
  [2, 'bad usage or input'],
  [3, 'refused: held by another, taken over by it, or not allowed there'],
  [4, 'given up waiting; the operation goes on'],
] as const;

/** A command line that makes no sense. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** An operation was started and did not end as asked, or nobody waited for its end. */
export class OperationError extends Error {
  override readonly name = 'OperationError';
  constructor(
    readonly error: StewardError,
    readonly operation: { readonly operationId: string; readonly runId: string },
  ) {
    super(error.message, { cause: error });
  }
}

export interface Failure {
  readonly exitCode: ExitCode;
  readonly document: ErrorDocument;
  readonly cause: unknown;
}

/** What a person and a program are told of what was thrown; `help` when it was no failure but help that was shown. */
export async function failureOf(error: unknown): Promise<Failure | 'help'> {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 'help';
    const message = error.code === 'commander.help' ? 'a command is missing' : usageMessage(error.message);
    return { exitCode: 2, document: { error: { code: 'INVALID_INPUT', message } }, cause: error };
  }
  if (error instanceof UsageError) {
    return {
      exitCode: 2,
      document: { error: { code: 'INVALID_INPUT', message: error.message } },
      cause: error,
    };
  }
  if (error instanceof Error && error.name === 'LocalStackError') {
    const { exitCode, code, message } = error as LocalStackError;
    return { exitCode, document: { error: { code, message } }, cause: error };
  }
  if (error instanceof OperationError) {
    const document = { error: { ...error.error.toJSON(), ...error.operation } };
    return { exitCode: exitCodeOf(error.error), document, cause: error.error };
  }
  const { StewardError } = await import('../client/errors.js');
  const translated = StewardError.from(error);
  return { exitCode: exitCodeOf(translated), document: { error: translated.toJSON() }, cause: error };
}

/** One line on stderr; the document on stdout for programs; the stack when STEWARD_DEBUG is set. */
export function reportFailure({ document, cause }: Failure, { json }: { readonly json: boolean }): void {
  if (json) process.stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
  const { message, holder } = document.error;
  printLine(`steward: ${message}${holder === undefined ? '' : `: ${lookAgain(holder.workflowId)}`}`);
  if (process.env['STEWARD_DEBUG']) console.error(cause);
}

const CODES: Readonly<Record<StewardErrorCode, ExitCode>> = {
  INVALID_INPUT: 2,
  NOT_FOUND: 2,
  ALREADY_EXISTS: 2,
  REJECTED: 2,
  HELD: 3,
  SUPERSEDED: 3,
  TIMED_OUT: 4,
  INCOMPLETE: 1,
  UNAVAILABLE: 1,
  CANCELED: 1,
  FAILED: 1,
};

/** Reasons of REJECTED for which the command line is right, at another time or of another node. */
const REFUSALS: readonly unknown[] = [
  'DATABASE_DELETING',
  'REGION_GROUP_REMOVING',
  'NODE_ALIVE',
  'NOT_CANCELLABLE',
  'JOB_TOMBSTONE',
  'FAULTS_NOT_ALLOWED',
  'NOT_SUPERVISED_HERE',
  'OPTIMIZER_ALIVE',
  'RESOURCE_RELEASING',
];

export function exitCodeOf({ code, details }: StewardError): ExitCode {
  return code === 'REJECTED' && REFUSALS.includes(details) ? 3 : CODES[code];
}

function usageMessage(message: string): string {
  return message.replace(/^error: /, '').replaceAll('\n', ' ');
}

import { messageOf } from '../message-of.js';

/** Why a command of the local stack did not do what it was asked; the message is all that a person needs. */
export class LocalStackError extends Error {
  override readonly name = 'LocalStackError';
  readonly code: LocalStackErrorCode;

  constructor(code: LocalStackErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  /** Of the command: 1 failed, 2 bad usage, 3 refused. */
  get exitCode(): 1 | 2 | 3 {
    return EXIT_CODES[this.code];
  }

  static from(error: unknown, code: LocalStackErrorCode): LocalStackError {
    if (error instanceof LocalStackError) return error;
    return new LocalStackError(code, messageOf(error), {
      cause: error,
    });
  }
}

const EXIT_CODES = {
  PORT_IN_USE: 2,
  UNKNOWN_PROCESS: 2,
  ALREADY_RUNNING: 3,
  WRONG_STATE: 3,
  NOT_RUNNING: 1,
  START_FAILED: 1,
  STOP_FAILED: 1,
} as const;

export type LocalStackErrorCode = keyof typeof EXIT_CODES;

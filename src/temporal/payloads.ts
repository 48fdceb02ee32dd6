import { type DataConverter, DefaultFailureConverter, defaultPayloadConverter } from '@temporalio/common';
import type { LoadedDataConverter } from '@temporalio/common/lib/converter/data-converter.js';
import { builtProgram } from '../project.js';
import { type CredentialsLog, WARNINGS } from '../rpc/credentials.js';
import type { WatchedFiles } from '../rpc/watched-files.js';
import { PayloadEncryption } from './payload-encryption.js';
import { PAYLOAD_KEYS_VARIABLE, type PayloadKeys, watchPayloadKeys } from './payload-keys.js';

/** Converters themselves where the SDK would take their path: a client loads no module then. */
type ClientConverter = DataConverter & Pick<LoadedDataConverter, 'payloadConverter' | 'failureConverter'>;

/** What is read in the place of a payload that is not looked at. */
const NOTHING = { metadata: { encoding: Buffer.from('binary/null') } };

/**
 * How a process writes and reads what Temporal keeps for it: encrypted when it is given keys, else as it is. Keys are read
 * again when their file changes. Encrypted payloads without a key are told as such, whoever meets them.
 */
export class Payloads {
  readonly codec: PayloadEncryption;
  readonly #keys: WatchedFiles<PayloadKeys> | undefined;

  /** Throws WrongTransport when the file of the keys cannot be used. */
  constructor(environment: NodeJS.ProcessEnv = process.env, log: CredentialsLog = WARNINGS) {
    this.#keys = watchPayloadKeys(environment, log);
    this.codec = new PayloadEncryption(() => this.#keys?.value);
  }

  /** With the keys of a file; of the environment's variable when none is named. */
  static of(file: string | undefined): Payloads {
    return new Payloads(file === undefined ? process.env : { ...process.env, [PAYLOAD_KEYS_VARIABLE]: file });
  }

  get encrypts(): boolean {
    return this.#keys !== undefined;
  }

  get ofClient(): ClientConverter {
    return {
      payloadConverter: defaultPayloadConverter,
      failureConverter: new DefaultFailureConverter({ encodeCommonAttributes: this.encrypts }),
      payloadCodecs: [this.codec],
    };
  }

  /** Of a client that lists, asks how things stand, and replaces: it reads no payload, so that it needs no key of before. */
  get ofOnlooker(): ClientConverter {
    const { codec } = this;
    const writing = {
      encode: codec.encode.bind(codec),
      decode: async (payloads: unknown[]) => payloads.map(() => NOTHING),
    };
    return { ...this.ofClient, payloadCodecs: [writing] };
  }

  /** Of a worker, whose workflows have their failures encoded by their bundle (`workflowBundle`). */
  get ofWorker(): DataConverter {
    return {
      payloadCodecs: [this.codec],
      ...(this.encrypts && {
        failureConverterPath: builtProgram('src/temporal/encoding-failures.cts'),
      }),
    };
  }

  /** Looks at the file no more. */
  close(): void {
    this.#keys?.close();
  }
}

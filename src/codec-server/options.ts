import { listenAddress, readFlags, UsageError } from '../command-line.js';
import {
  readTransport,
  TRANSPORT_FLAGS,
  TRANSPORT_USAGE,
  type TransportSettings,
  WrongTransport,
} from '../model/transport.js';
import { PAYLOAD_KEYS_VARIABLE } from '../temporal/payload-keys.js';

export const USAGE = `usage: main.js [flags]
Shows encrypted payloads to Temporal's Web UI and the temporal command. Needs ${PAYLOAD_KEYS_VARIABLE} and a token.

  --listen <host:port>     default 127.0.0.1:8081
  --origin <url>           origin of the Web UI, such as https://temporal.example; may be given several times
${TRANSPORT_USAGE}`;

const FLAGS = {
  listen: { type: 'string', default: '127.0.0.1:8081' },
  origin: { type: 'string', multiple: true },
  help: { type: 'boolean', default: false },
  'exit-with-parent': { type: 'boolean' },
  ...TRANSPORT_FLAGS,
} as const;

export interface CodecServerOptions {
  readonly host: string;
  readonly port: number;
  readonly origins: readonly string[];
  readonly transport: TransportSettings;
}

/** Throws UsageError and WrongTransport. */
export function readOptions(args: readonly string[]): CodecServerOptions | 'help' {
  const values = readFlags(FLAGS, args);
  if (values.help) return 'help';
  const { host, port } = listenAddress(values.listen);
  const origins = values.origin ?? [];
  for (const origin of origins) {
    if (!URL.canParse(origin) || new URL(origin).origin !== origin)
      throw new UsageError(
        `--origin must be as a browser sends it, scheme://host[:port], such as https://temporal.example`,
      );
  }
  const transport = readTransport(process.env, values);
  if (transport.tokenFile === undefined)
    throw new WrongTransport(
      'the codec server shows what is encrypted: give it a token (--token-file, STEWARD_TOKEN_FILE)',
    );
  return { host, port, origins, transport };
}

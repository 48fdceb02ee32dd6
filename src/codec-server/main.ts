import { readCommandLine } from '../command-line.js';
import { WrongTransport } from '../model/transport.js';
import { runProcess } from '../process.js';
import { Credentials } from '../rpc/credentials.js';
import { PAYLOAD_KEYS_VARIABLE } from '../temporal/payload-keys.js';
import { Payloads } from '../temporal/payloads.js';
import { readOptions, USAGE } from './options.js';
import { CodecServer } from './server.js';

/** The codec server process: has the keys, a token, and nothing else of Steward. */
const { host, port, origins, transport } = readCommandLine(readOptions, USAGE);
await runProcess('codec-server', async (log, stopping) => {
  const payloads = new Payloads(process.env, log);
  if (!payloads.encrypts)
    throw new WrongTransport(`the codec server needs keys: set ${PAYLOAD_KEYS_VARIABLE}`);
  const credentials = new Credentials(transport, log);
  const server = new CodecServer(payloads.codec, credentials, origins, log);
  const url = await server.listen(host, port);
  return {
    ready: { url },
    ended: stopping.then(async () => {
      await server.close();
      credentials.close();
      payloads.close();
    }),
  };
});

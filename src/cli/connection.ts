import { hostname, userInfo } from 'node:os';
import type { StewardClient, TemporalTarget } from '../client/index.js';
import type { StackAddresses } from '../local/stack-file.js';
import type { ConnectionOptions } from './options.js';

/** Connects as the options, the environment or the local stack say, and closes when the work is done. */
export async function withClient<T>(
  options: ConnectionOptions,
  work: (client: StewardClient) => Promise<T>,
): Promise<T> {
  const servers = await findServers(options);
  const { StewardClient: Client } = await import('../client/index.js');
  const client = await Client.connect({ ...servers, actor: actorOf(options) });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

/** A client of a local stack. */
export async function connectStack(addresses: StackAddresses): Promise<StewardClient> {
  const { StewardClient: Client } = await import('../client/index.js');
  return Client.connect({
    coordinatorUrl: addresses.coordinator,
    temporal: localTemporal(addresses),
    actor: actorOf({}),
  });
}

/** Who acts: `--actor`, STEWARD_ACTOR (which commander reads), else user@host. */
export function actorOf({ actor }: Pick<ConnectionOptions, 'actor'>): string {
  return actor ?? process.env['STEWARD_ACTOR'] ?? `${userName()}@${hostname()}`;
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A uid without a name, as in many containers.
    return process.env['USER'] ?? `uid-${process.getuid?.() ?? 0}`;
  }
}

interface Servers {
  readonly coordinatorUrl: string;
  readonly temporal: TemporalTarget;
}

/**
 * Each server by its option or variable, else the local stack's. The stack's Temporal is only taken together with its
 * coordinator: an operation must not be started on one Steward for the catalog of another.
 */
async function findServers({ coordinator, temporalAddress }: ConnectionOptions): Promise<Servers> {
  const asked = { address: temporalAddress };
  if (coordinator !== undefined) {
    if (temporalAddress !== undefined) return { coordinatorUrl: coordinator, temporal: asked };
    const stack = await readLocalStack();
    const ours = stack?.addresses?.coordinator === coordinator ? stack.addresses : undefined;
    return { coordinatorUrl: coordinator, temporal: ours === undefined ? {} : localTemporal(ours) };
  }
  const stack = await readLocalStack();
  if (stack?.addresses === undefined) {
    const { StewardError } = await import('../client/errors.js');
    throw new StewardError(
      'UNAVAILABLE',
      stack === undefined
        ? 'no Steward runs here: start one with "steward local start", or say where one is with --coordinator ' +
            '(STEWARD_COORDINATOR_URL) and --temporal-address (TEMPORAL_ADDRESS)'
        : 'the local Steward is only starting: see "steward local status", and ask again',
    );
  }
  return {
    coordinatorUrl: stack.addresses.coordinator,
    temporal: temporalAddress === undefined ? localTemporal(stack.addresses) : asked,
  };
}

async function readLocalStack() {
  const { readStack } = await import('../local/stack-file.js');
  return readStack();
}

function localTemporal({ temporal, temporalNamespace, webUi }: StackAddresses): TemporalTarget {
  // Without a Web UI the server is not the stack's own, and needs the configuration that the stack was started with.
  return { address: temporal, namespace: temporalNamespace, plain: webUi !== undefined };
}

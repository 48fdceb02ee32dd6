import type { LocalStatus } from '../local/status.js';
import type { ConnectionOptions } from './options.js';

/** A process of the local stack, as its supervisor and the machine know it. */
export interface LocalProcess {
  readonly state: LocalStatus['processes'][number]['state'];
  /** While there is one. */
  readonly pid?: number;
}

/**
 * The processes of the local stack by name; none when no stack runs, or when the options ask the coordinator of another
 * Steward, whose nodes may have the same names.
 */
export async function localProcesses({
  coordinator,
}: Pick<ConnectionOptions, 'coordinator'>): Promise<ReadonlyMap<string, LocalProcess>> {
  const [{ statusOf }, { stewardHome }] = await Promise.all([
    import('../local/status.js'),
    import('../local/layout.js'),
  ]);
  const status = statusOf(stewardHome());
  const isMeant = coordinator === undefined || coordinator === status.coordinator;
  return new Map(
    (isMeant ? status.processes : []).map(({ name, state, pid }) => [
      name,
      { state, ...(pid !== undefined && { pid }) },
    ]),
  );
}

import { readdirSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { identityOf, type ProcessIdentity } from '../process-identity.js';

/** What is held until `release`; it also ends with the process that holds it, however that process ends. */
export interface Lock {
  release(): Promise<void>;
}

export type LockResult = { held: true; lock: Lock } | { held: false; holder: ProcessIdentity };

/**
 * An exclusive lock between processes of one machine, as a directory with one claim file per process.
 *
 * A claim is named after the process that made it, so that removing the claim of a dead process can never remove the
 * claim of a living one. A process holds the lock when it has written its claim and *afterwards* has seen no other
 * living claim: of two processes, the one that wrote later sees the earlier one, so both can never hold it. Two that see
 * each other before either holds it are decided by name.
 */
export async function tryLock(directory: string): Promise<LockResult> {
  const self = identityOf(process.pid);
  if (self === undefined) throw new Error(`the start time of process ${process.pid} cannot be read`);
  await mkdir(directory, { recursive: true });
  const name = claimName(self);
  const claim = join(directory, name);
  const held = `${claim}.held`;
  try {
    await writeFile(claim, '', { flag: 'wx' });
  } catch (error) {
    // Only this very process can have made it: it asks twice.
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return { held: false, holder: self };
    throw error;
  }
  const release = async () => {
    await rm(held, { force: true });
    await rm(claim, { force: true });
  };
  try {
    for (;;) {
      const others = await livingClaims(directory, name);
      if (others.length === 0) {
        await writeFile(held, '');
        return { held: true, lock: { release } };
      }
      const ahead = others.find((other) => other.holds || other.name < name);
      if (ahead !== undefined) {
        await release();
        return { held: false, holder: ahead.identity };
      }
      await sleep(5);
    }
  } catch (error) {
    await release();
    throw error;
  }
}

export interface WaitOptions {
  /** Called once, with the holder, when the lock is not free at once. */
  onWait?: (holder: ProcessIdentity) => void;
  /** Gives the wait up. */
  signal?: AbortSignal | undefined;
}

/** Waits for the lock. */
export async function waitForLock(directory: string, { onWait, signal }: WaitOptions = {}): Promise<Lock> {
  let told = false;
  for (;;) {
    const result = await tryLock(directory);
    if (result.held) return result.lock;
    if (!told) onWait?.(result.holder);
    told = true;
    await sleep(50, undefined, { signal });
  }
}

/** The living process that holds the lock, if any; takes nothing. */
export function lockHolder(directory: string): ProcessIdentity | undefined {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch {
    return undefined;
  }
  return names
    .filter((name) => names.includes(`${name}.held`))
    .map(identityFrom)
    .find((identity) => identity !== undefined && identityOf(identity.pid)?.startedAt === identity.startedAt);
}

interface Claim {
  name: string;
  identity: ProcessIdentity;
  holds: boolean;
}

async function livingClaims(directory: string, except: string): Promise<Claim[]> {
  const names = await readdir(directory);
  const claims: Claim[] = [];
  for (const name of names) {
    const identity = identityFrom(name);
    if (identity === undefined || name === except) continue;
    if (identityOf(identity.pid)?.startedAt === identity.startedAt) {
      claims.push({ name, identity, holds: names.includes(`${name}.held`) });
    } else {
      await rm(join(directory, `${name}.held`), { force: true });
      await rm(join(directory, name), { force: true });
    }
  }
  return claims;
}

function claimName({ pid, startedAt }: ProcessIdentity): string {
  return `${pid}@${encodeURIComponent(startedAt)}`;
}

function identityFrom(name: string): ProcessIdentity | undefined {
  const [, pid, startedAt] = /^(\d+)@([^.]+)$/.exec(name) ?? [];
  return pid === undefined || startedAt === undefined
    ? undefined
    : { pid: Number(pid), startedAt: decodeURIComponent(startedAt) };
}

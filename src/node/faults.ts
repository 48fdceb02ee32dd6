import { clone, create } from '@bufbuild/protobuf';
import { type Duration, durationMs } from '@bufbuild/protobuf/wkt';
import type { Code } from '@connectrpc/connect';
import { type MergeFaults, MOST_MERGE_STRIKES } from '../optimizer/merge-faults.js';
import { type Fault, FaultSchema } from '../rpc/gen/steward/worker/v1/fault_pb.js';
import { OperationService } from '../rpc/gen/steward/worker/v1/operation_pb.js';
import { codeNamed, RPC_TARGETS } from '../rpc/worker-contract.js';
import { EFFECT_TARGETS, type EffectTarget } from '../rules/fault-targets.js';

/** A fault that makes no sense; the message says what would. */
export class InvalidFault extends Error {
  override readonly name = 'InvalidFault';
}

/** What strikes one call, in the order in which it was set. */
export type RpcStrike =
  | { readonly kind: 'delay'; readonly delayMs: number }
  | { readonly kind: 'error'; readonly code: Code }
  | { readonly kind: 'busy'; readonly retryAfterMs: number }
  | { readonly kind: 'dropReply' | 'dropRequest' | 'duplicate' };

/** What strikes one effect. */
export interface EffectStrike {
  readonly delayMs: number;
  /** Aborted when the faults are cleared, so that a strike which came before that holds nothing up afterwards. */
  readonly cleared: AbortSignal;
  readonly fail?: { readonly message: string; readonly afterEffect: boolean };
}

interface ActiveFault {
  readonly fault: Fault;
  /** Strikes that are left; Infinity when the fault stays until it is cleared. */
  left: number;
  /** Names it among the faults of merges, which optimizers use up. */
  readonly mergeId?: number;
}

const MERGES = 'merge-files' satisfies EffectTarget;

type Kind = NonNullable<Fault['kind']['case']>;

const RPC_KINDS: readonly Kind[] = ['delay', 'error', 'dropReply', 'dropRequest', 'duplicate'];
const EFFECT_KINDS: readonly Kind[] = ['delay', 'fail'];

function kindsOf(target: string): readonly Kind[] | undefined {
  if (target === OperationService.method.submit.name) return [...RPC_KINDS, 'busy'];
  if (RPC_TARGETS.includes(target)) return RPC_KINDS;
  return EFFECT_TARGETS.some((known) => known === target) ? EFFECT_KINDS : undefined;
}

/** The faults that are set, and what they hold up. */
export class Faults {
  #active: ActiveFault[] = [];
  #cleared = new AbortController();
  #lastMergeId = 0;

  /** `merges`: where the optimizers of the node look. */
  constructor(private readonly merges?: MergeFaults) {
    // Faults end with the process that they were set at.
    merges?.clear();
  }

  /** Adds a fault; throws InvalidFault for one that makes no sense. */
  set(fault: Fault): void {
    const kinds = kindsOf(fault.target);
    if (kinds === undefined) {
      const known = [...RPC_TARGETS, ...EFFECT_TARGETS].join(', ');
      throw new InvalidFault(`unknown target ${JSON.stringify(fault.target)}: it must be one of ${known}`);
    }
    const { case: kind, value } = fault.kind;
    if (kind === undefined || !kinds.includes(kind)) {
      throw new InvalidFault(
        `a fault of ${fault.target} must be one of ${kinds.join(', ')}, not ${kind ?? 'none'}`,
      );
    }
    if (value === false) throw new InvalidFault(`${kind} must be true; use ClearFaults to end a fault`);
    if (kind === 'error' && codeNamed(value) === undefined) {
      throw new InvalidFault(
        `error must be a Connect code such as unavailable, not ${JSON.stringify(value)}`,
      );
    }
    if ((kind === 'delay' || kind === 'busy') && !(durationMs(value) >= 0)) {
      throw new InvalidFault(`${kind} must not be negative`);
    }
    const left = fault.times === 0 ? Number.POSITIVE_INFINITY : fault.times;
    const mergeId = fault.target === MERGES ? this.#setMergeFault(fault) : undefined;
    this.#active.push({ fault: clone(FaultSchema, fault), left, ...(mergeId !== undefined && { mergeId }) });
  }

  /** Removes all faults. What they delay goes on at once; what they swallowed is given up unhandled. */
  clear(): void {
    this.#active = [];
    this.merges?.clear();
    this.#cleared.abort();
    this.#cleared = new AbortController();
  }

  /** The faults that are set, with the strikes that are left. */
  list(): Fault[] {
    for (const active of this.#active) {
      if (active.mergeId === undefined || !Number.isFinite(active.left)) continue;
      active.left = this.merges?.left(active.mergeId) ?? 0;
    }
    this.#active = this.#active.filter(({ left }) => left > 0);
    return this.#active.map(({ fault, left }) =>
      create(FaultSchema, { ...fault, times: Number.isFinite(left) ? left : 0 }),
    );
  }

  /** Uses up and returns what strikes a call; nothing comes after a strike that keeps it from being handled. */
  strikeRpc(target: string, operationIds: readonly string[]): RpcStrike[] {
    const strikes: RpcStrike[] = [];
    for (const active of this.#matching(target, operationIds)) {
      const strike = toRpcStrike(active.fault);
      this.#use(active);
      strikes.push(strike);
      if (strike.kind === 'error' || strike.kind === 'dropRequest') break;
    }
    return strikes;
  }

  /** Uses up and returns what strikes an effect; nothing comes after a failure. */
  strikeEffect(target: EffectTarget, operationId: string): EffectStrike {
    let delayMs = 0;
    const cleared = this.#cleared.signal;
    for (const active of this.#matching(target, [operationId])) {
      const { case: kind, value } = active.fault.kind;
      this.#use(active);
      if (kind === 'delay') delayMs += durationMs(value);
      if (kind === 'fail')
        return { delayMs, cleared, fail: { message: value.message, afterEffect: value.afterEffect } };
    }
    return { delayMs, cleared };
  }

  /** Waits; cut short by `clear`. Rejects with the reason of the signal when that is aborted. */
  async hold(delayMs: number, signal?: AbortSignal, cleared = this.#cleared.signal): Promise<void> {
    signal?.throwIfAborted();
    if (delayMs <= 0 || cleared.aborted) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        cleared.removeEventListener('abort', done);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, Math.min(delayMs, MAX_TIMER_MS));
      cleared.addEventListener('abort', done);
      signal?.addEventListener('abort', done);
    });
    signal?.throwIfAborted();
  }

  /** Waits until the faults are cleared or the client gives up. */
  async swallowed(client: AbortSignal): Promise<void> {
    const cleared = this.#cleared.signal;
    if (client.aborted) return;
    await new Promise<void>((resolve) => {
      cleared.addEventListener('abort', () => resolve(), { once: true });
      client.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  #setMergeFault({ match, times, kind: { case: kind, value } }: Fault): number {
    if (this.merges === undefined)
      throw new InvalidFault('this node has no optimizers: it has no coordinator');
    if (times > MOST_MERGE_STRIKES) {
      throw new InvalidFault(`a fault of ${MERGES} must not strike more than ${MOST_MERGE_STRIKES} times`);
    }
    const id = ++this.#lastMergeId;
    const delayMs = kind === 'delay' ? durationMs(value) : 0;
    const fail = kind === 'fail' ? { message: value.message, afterEffect: value.afterEffect } : undefined;
    this.merges.set(id, { match, delayMs, ...(fail !== undefined && { fail }) }, times);
    return id;
  }

  #matching(target: string, operationIds: readonly string[]): ActiveFault[] {
    return this.#active.filter(
      ({ fault }) =>
        fault.target === target &&
        (fault.match === '' || operationIds.some((id) => id.includes(fault.match))),
    );
  }

  #use(active: ActiveFault): void {
    active.left -= 1;
    if (active.left <= 0) this.#active = this.#active.filter((other) => other !== active);
  }
}

/** Longest time that a Node.js timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

function toRpcStrike(fault: Fault): RpcStrike {
  const { case: kind, value } = fault.kind;
  switch (kind) {
    case 'delay':
      return { kind, delayMs: durationMs(value as Duration) };
    case 'error':
      return { kind, code: codeNamed(value)! };
    case 'busy':
      return { kind, retryAfterMs: durationMs(value) };
    case 'dropReply':
    case 'dropRequest':
    case 'duplicate':
      return { kind };
    case 'fail':
    case undefined:
      throw new Error(`fault ${kind} does not strike calls`);
  }
}

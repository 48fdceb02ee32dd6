import type { Interceptor } from '@connectrpc/connect';
import { type CallContext, callContext, onBehalfOf } from '../call-context.js';

/** W3C baggage: whoever does not know our members passes over them. Values are percent-encoded. */
const HEADER = 'baggage';
const MEMBERS = {
  workflowId: 'steward.workflow_id',
  workflowType: 'steward.workflow_type',
  actor: 'steward.actor',
} as const;
/** Longer ones are nobody's: a workflow id has at most 1,000 bytes. */
const MAX_VALUE = 3_000;

/** Tells the callee on whose behalf it is called. */
export const sendCallContext: Interceptor = (next) => (request) => {
  const context = callContext();
  if (context !== undefined) request.header.set(HEADER, toBaggage(context));
  return next(request);
};

/** Handles a call on behalf of whom the caller names, so that the lines logged meanwhile say so. Nothing else follows from it. */
export const takeCallContext: Interceptor = (next) => (request) =>
  onBehalfOf(fromBaggage(request.header.get(HEADER)), () => next(request));

export function toBaggage(context: CallContext): string {
  return Object.entries(MEMBERS)
    .flatMap(([field, member]) => {
      const value = context[field as keyof typeof MEMBERS];
      return value === undefined ? [] : [`${member}=${encodeURIComponent(value)}`];
    })
    .join(',');
}

/** Undefined when it names no workflow, or not as {@link toBaggage} does. */
export function fromBaggage(header: string | null): CallContext | undefined {
  if (header === null) return undefined;
  const values = new Map(
    header.split(',').map((member) => {
      const [name, ...value] = member.split(';')[0]!.split('=');
      return [name!.trim(), value.join('=').trim()] as const;
    }),
  );
  const read = (member: string): string | undefined => {
    const value = values.get(member);
    if (value === undefined || value === '' || value.length > MAX_VALUE) return undefined;
    try {
      return decodeURIComponent(value);
    } catch {
      return undefined;
    }
  };
  const workflowId = read(MEMBERS.workflowId);
  if (workflowId === undefined) return undefined;
  const workflowType = read(MEMBERS.workflowType);
  const actor = read(MEMBERS.actor);
  return { workflowId, ...(workflowType && { workflowType }), ...(actor && { actor }) };
}

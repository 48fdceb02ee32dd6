import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import type { FaultService } from '../rpc/gen/steward/worker/v1/fault_pb.js';
import { type Faults, InvalidFault } from './faults.js';

/** Lets tests and curious people make the node misbehave. */
export function faultService(faults: Faults): ServiceImpl<typeof FaultService> {
  return {
    setFault({ fault }) {
      if (fault === undefined) throw new ConnectError('fault is missing', Code.InvalidArgument);
      try {
        faults.set(fault);
      } catch (error) {
        if (error instanceof InvalidFault) throw new ConnectError(error.message, Code.InvalidArgument);
        throw error;
      }
      return {};
    },

    /** A call or effect that a `delay` holds goes on at once; a swallowed call is given up unhandled. */
    clearFaults() {
      faults.clear();
      return {};
    },

    listFaults() {
      return { faults: faults.list() };
    },
  };
}

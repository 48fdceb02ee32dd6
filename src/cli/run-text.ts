import type { HealResult, JobSweepResult, Planning, SweepResult, TableSweep } from '../client/index.js';
import { counted } from '../rules/counted.js';

/** What a scheduled run did, in one line, by the result of its workflow. */
export function didText(workflowType: string, result: unknown): string {
  switch (workflowType) {
    case 'sweepReplicas': {
      const { nodes, lacking, removed, recreations, drivenOn } = result as SweepResult;
      const leaked = nodes.reduce((sum, { leakedTotal }) => sum + leakedTotal, 0);
      const missing = nodes.reduce((sum, { missingTotal }) => sum + missingTotal, 0);
      return joined(
        `${counted(nodes.length, 'node')}: ${leaked} leaked, ${missing} missing`,
        some(lacking.length, 'group lacking replicas', 'groups lacking replicas'),
        some(removed, 'removed'),
        some(recreations.length, 'being recreated'),
        some(drivenOn.length, 'driven on'),
      );
    }
    case 'healStuckCommits': {
      const { total, healed, failed, breaker } = result as HealResult;
      return joined(
        `${total} stuck`,
        some(healed.length, 'healed'),
        some(failed.length, 'not healed'),
        breaker.state === 'OPEN' ? 'breaker OPEN' : '',
      );
    }
    case 'planOptimizing': {
      const { planned, waiting } = result as Planning;
      return joined(`${planned.length} planned`, some(waiting.length, 'waiting'));
    }
    case 'sweepTables': {
      const { tables, files, failed } = result as TableSweep;
      return joined(
        `${counted(files, 'file')} of ${counted(tables, 'table')} removed`,
        some(failed.length, 'table not swept', 'tables not swept'),
      );
    }
    case 'ensureKeepers': {
      const { started } = result as { readonly started: readonly string[] };
      return started.length === 0 ? 'no keeper was missing' : `started the keepers of ${started.join(', ')}`;
    }
    case 'sweepJobs': {
      const { drivenOn, purges, cancels } = result as JobSweepResult;
      return joined(
        `${drivenOn.length} driven on, ${counted(purges.length, 'purge')} started`,
        some(cancels.confirmed, 'cancel confirmed', 'cancels confirmed'),
        some(cancels.owed, 'cancel owed', 'cancels owed'),
      );
    }
    default:
      return JSON.stringify(result);
  }
}

function some(count: number, one: string, many = one): string {
  return count === 0 ? '' : `${count} ${count === 1 ? one : many}`;
}

function joined(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join(', ');
}

/** Where to look at an operation again. */
export function lookAgain(operationId: string): string {
  return `steward operation show ${operationId}`;
}

/** `1 region group`, `3 region groups` */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/** `region group 7`, `region groups 7, 8 and 9`, `12 region groups` */
export function groupsText(ids: readonly number[]): string {
  if (ids.length === 1) return `region group ${ids[0]}`;
  if (ids.length > 5) return `${ids.length} region groups`;
  return `region groups ${ids.slice(0, -1).join(', ')} and ${ids.at(-1)}`;
}

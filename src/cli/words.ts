/** Where to look at an operation again. */
export function lookAgain(operationId: string): string {
  return `steward operation show ${operationId}`;
}

/** `region group 7`, `region groups 7, 8 and 9`, `12 region groups` */
export function groupsText(ids: readonly number[]): string {
  if (ids.length === 1) return `region group ${ids[0]}`;
  if (ids.length > 5) return `${ids.length} region groups`;
  return `region groups ${ids.slice(0, -1).join(', ')} and ${ids.at(-1)}`;
}

/** What submits nothing new to nodes until it is resumed; what nodes have accepted goes on. */
export interface Pause {
  /** Absent: every operation. */
  readonly operationId?: string;
  readonly actor: string;
  readonly reason: string;
  readonly since: string;
}

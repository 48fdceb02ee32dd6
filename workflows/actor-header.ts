/** The header in which every activity finds the actor of its workflow. */
export const ACTOR_HEADER = 'steward-actor';

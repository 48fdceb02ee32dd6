import { VERBS } from './operation-id.js';

/**
 * Points of a task group at work, matched by `<location>@<execution>`: each batch, which when delayed stands still as one
 * that hangs; each checkpoint before the coordinator hears of it; each committed one before its parts are published.
 */
const TASK_GROUP_POINTS = ['run-task-group', 'commit-checkpoint', 'publish-checkpoint'] as const;

/** Every merge of the node's optimizers, matched by `<task id>@<attempt>`. */
const OPTIMIZER_POINTS = ['merge-files'] as const;

/** What of the node's work a fault can disturb: the effect of a verb, or a point of a task group or optimizer at work. */
export const EFFECT_TARGETS = [...VERBS, ...TASK_GROUP_POINTS, ...OPTIMIZER_POINTS] as const;
export type EffectTarget = (typeof EFFECT_TARGETS)[number];

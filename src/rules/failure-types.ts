/** Types of the failures that callers tell apart, however they were thrown; the message of each is for people. */
export const FAILURE = {
  /** The input is wrong; the message starts with the field. */
  INVALID_INPUT: 'InvalidInput',
  /** A live workflow holds what was asked for; details: [Holder]. */
  HELD: 'Held',
  /** It cannot be done as asked, for nobody; details: [code]. */
  REJECTED: 'Rejected',
  /** The operation is past its point of no return. */
  NOT_CANCELLABLE: 'NotCancellable',
  /** The job failed, with no retry left; details: [JobEnd]. */
  JOB_FAILED: 'JobFailed',
  /** Some region groups missed their quorum; details: [CreationResult]. */
  REGION_GROUPS_INCOMPLETE: 'RegionGroupsIncomplete',
} as const;

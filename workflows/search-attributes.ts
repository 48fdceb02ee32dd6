import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';

/** The five typed search attributes of Steward, no more: a namespace has room for ten keywords. */
export const stewardDatabase = defineSearchAttributeKey('StewardDatabase', SearchAttributeType.KEYWORD);
export const stewardResource = defineSearchAttributeKey('StewardResource', SearchAttributeType.KEYWORD);
export const stewardNode = defineSearchAttributeKey('StewardNode', SearchAttributeType.KEYWORD);
export const stewardPhase = defineSearchAttributeKey('StewardPhase', SearchAttributeType.KEYWORD);
export const stewardActor = defineSearchAttributeKey('StewardActor', SearchAttributeType.KEYWORD);

export const SEARCH_ATTRIBUTES = [stewardDatabase, stewardResource, stewardNode, stewardPhase, stewardActor];

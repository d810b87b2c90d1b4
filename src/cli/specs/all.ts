/** Every command there is, in the order of the lists. */
import type { CommandSpec } from '../spec.ts';
import { spec as adopt } from './adopt.ts';
import { spec as approve } from './approve.ts';
import { spec as backup } from './backup.ts';
import { spec as check } from './check.ts';
import { spec as completion } from './completion.ts';
import { spec as demo } from './demo.ts';
import { spec as doctor } from './doctor.ts';
import { spec as explain } from './explain.ts';
import { spec as generate } from './generate.ts';
import { spec as history } from './history.ts';
import { spec as keys } from './keys.ts';
import { spec as mirror } from './mirror.ts';
import { spec as preview } from './preview.ts';
import { spec as prune } from './prune.ts';
import { spec as push } from './push.ts';
import { spec as recall } from './recall.ts';
import { spec as reject } from './reject.ts';
import { spec as reload } from './reload.ts';
import { spec as rollback } from './rollback.ts';
import { spec as run } from './run.ts';
import { spec as scrub } from './scrub.ts';
import { spec as status } from './status.ts';
import { spec as verify } from './verify.ts';

export const specs: readonly CommandSpec[] = [
  status,
  preview,
  history,
  explain,
  push,
  mirror,
  approve,
  reject,
  rollback,
  recall,
  prune,
  scrub,
  run,
  reload,
  backup,
  check,
  doctor,
  verify,
  keys,
  adopt,
  demo,
  completion,
  generate,
];

/** Writes config/grafana/lockstepd.json anew: `npm run dashboard`. */
import { join, resolve } from 'node:path';
import { writeFile } from 'node:fs/promises';
import { dashboardText } from './dashboard.ts';

await writeFile(join(resolve(import.meta.dirname, '../..'), 'config/grafana/lockstepd.json'), dashboardText());

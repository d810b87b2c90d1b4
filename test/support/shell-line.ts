/** Reads the calls of lockstepd out of a line for a shell, as the examples of the commands are. */

/** The words after `lockstepd` of each call in the line. */
export function invocationsIn(line: string): string[][] {
  const calls: string[][] = [];
  let call: string[] | null = null;
  for (const word of wordsOf(line)) {
    if (typeof word !== 'string') call = null;
    else if (call !== null) call.push(word);
    else if (word === 'lockstepd') {
      call = [];
      calls.push(call);
    }
  }
  // `sudo -u lockstepd lockstepd …` names it twice, `systemctl stop lockstepd` calls something else.
  return calls
    .map((words) => (words[0] === 'lockstepd' ? words.slice(1) : words))
    .filter(([name]) => name !== undefined);
}

/** Words without their quotes; operators of the shell as an object. */
function wordsOf(line: string): (string | { operator: string })[] {
  const tokens = line.matchAll(/(?<operator>&&|\|\||[|;&<>()])|(?<word>(?:'[^']*'|"[^"]*"|[^\s'"|;&<>()])+)/g);
  return [...tokens].map(({ groups }) =>
    groups?.operator === undefined
      ? (groups?.word ?? '').replaceAll(
          /'([^']*)'|"([^"]*)"/g,
          (_, single?: string, double?: string) => single ?? double ?? '',
        )
      : { operator: groups.operator },
  );
}

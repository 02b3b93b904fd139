/** Cuts a text into parts that do and do not contain one of the needles; one-letter needles are left out, they would mark everything. */
export function highlight(text: string, needles: string[]): { text: string; hit: boolean }[] {
  const wanted = [...new Set(needles)].filter((n) => n.length > 1).sort((a, b) => b.length - a.length);
  if (wanted.length === 0) return [{ text, hit: false }];
  const pattern = new RegExp(`(${wanted.map((n) => n.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|')})`, 'gi');
  return text.split(pattern).map((part, i) => ({ text: part, hit: i % 2 === 1 })).filter((part) => part.text !== '');
}

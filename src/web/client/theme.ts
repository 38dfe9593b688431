/** Light, dark, or as the system is. */

export type Theme = "as the system" | "light" | "dark";

const THEMES: readonly Theme[] = ["as the system", "light", "dark"];
const KEY = "theme";

export function currentTheme(): Theme {
  const stored = localStorage.getItem(KEY);
  return THEMES.find((theme) => theme === stored) ?? "as the system";
}

export function nextTheme(): Theme {
  const next = THEMES[(THEMES.indexOf(currentTheme()) + 1) % THEMES.length]!;
  localStorage.setItem(KEY, next);
  apply(next);
  dispatchEvent(new Event("themechange"));
  return next;
}

function apply(theme: Theme): void {
  document.documentElement.style.colorScheme = theme === "as the system" ? "" : theme;
}

apply(currentTheme());

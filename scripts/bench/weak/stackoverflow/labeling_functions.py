"""Labelling functions for Stack Overflow sentences, written after a reading of the training sentences alone.

They are honest and imperfect, as functions of a first afternoon are: lists of names that come to mind, and patterns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ner.spans import Span
from weak_labeling.functions import labeling_function

Found = Iterator[Span]


def _any_of(names: str, flags: re.RegexFlag = re.IGNORECASE) -> re.Pattern[str]:
    listed = sorted(filter(None, (name.strip() for name in names.replace("\n", ",").split(","))), key=len, reverse=True)
    return re.compile(rf"(?<![\w.@/-])(?:{'|'.join(map(re.escape, listed))})(?![\w@-])", flags)


_LANGUAGES = _any_of(
    """HTML, HTML5, JavaScript, PHP, CSS, CSS3, Java, Python, C#, JS, SQL, C++, XML, Ruby, Haskell, .NET, XAML, Bash,
    Perl, Swift, MATLAB, Objective-C, SML, Scala, Kotlin, TypeScript, Go lang, Rust, VBA, VB.NET, Visual Basic, F#,
    Groovy, Clojure, Erlang, Fortran, LaTeX, T-SQL, PL/SQL, XPath, XSLT, LINQ, ASP, ES6, Lua, Prolog, COBOL, JSON"""
)
_LIBRARIES = _any_of(
    """jQuery, Django, Angular, AngularJS, Spring, Rails, Ruby on Rails, ASP.NET, ASP.NET MVC, GWT, WCF, WPF, Bootstrap,
    Laravel, React, Vue, OpenCV, NHibernate, Hibernate, SignalR, Gson, Node, Node.js, nodejs, Express, Flask, numpy,
    pandas, matplotlib, scipy, TensorFlow, Keras, Qt, PyQt, Boost, CodeIgniter, CakePHP, Symfony, Backbone, Ember,
    d3, log4j, JUnit, Mockito, Spring Boot, Spring MVC, Entity Framework, EF, OAuth, Selenium, ggplot2, dplyr, Babel,
    webpack, Kendo UI, OpenGL, SDL, Unity, ffmpeg, Spark, Hadoop, Hive, Pig, Silverlight, Scrapy, BeautifulSoup"""
)
_APPLICATIONS = _any_of(
    """server, browser, browsers, client, MySQL, Git, Safari, Excel, IE, Chrome, Google Chrome, Firefox, Opera, Eclipse,
    Visual Studio, jsFiddle, fiddle, Apache, Tomcat, Nginx, IIS, Azure, SharePoint, SQL Server, Xcode, PowerShell,
    Android Studio, Notepad, Notepad++, Cygwin, Maven, Gradle, CodePen, Composer, PostgreSQL, Postgres, MongoDB, Oracle,
    HBase, SVN, Subversion, GitHub, Vim, Emacs, terminal, console, compiler, shell, Docker, Jenkins, npm, IntelliJ,
    NetBeans, Word, Outlook, Access, SQLite, Redis, Internet Explorer, WordPress, Joomla, Drupal, Facebook, Twitter,
    command line, cmd, Anaconda, Heroku, curl, Photoshop, phpMyAdmin, Firebase, Firebug, VirtualBox, VLC"""
)
_SYSTEMS = _any_of(
    """Windows, Android, iOS, Linux, Ubuntu, Unix, Mac OS X, Mac OS, OS X, OSX, macOS, CentOS, Debian, Fedora, Red Hat,
    RHEL, Solaris, Win, Win7, Win10, Windows Server, Windows Phone, GNU, FreeBSD, DOS"""
)
_DEVICES = _any_of(
    """Mac, mouse, CPU, GPU, disk, computer, mobile, iPhone, iPad, RAM, screen, battery, processor, phone, PC, laptop,
    printer, keyboard, Raspberry Pi, Arduino, router, port, motor, hard drive, tablet, desktop, monitor, camera, USB"""
)
_NAMED_ERRORS = re.compile(r"\b(?:\w+\.)*\w*[a-z]\w*(?:Exception|Error)\b(?! ?\()")
_STATUS = re.compile(r"\b(?:HTTP )?(?:40[0134]|50[0-4])(?= (?:error|response|status|Not|Forbidden)|\b(?= \.))", re.I)
_FATAL = re.compile(r"\b(?:segmentation fault|segfault|fatal error|parse error|syntax error)\b", re.I)
_DOTTED = re.compile(r"(?<![\w.$/-])v? ?\d{1,2}(?:\.\d{1,3}){1,3}(?:-?(?:rc|beta|b)\d*)?(?![\w.]*\w)", re.I)
_AFTER_WORD = re.compile(r"\bversions? :? ?(\d+(?:\.\w+)*)", re.I)
_AFTER_NAME = re.compile(
    r"\b(?:Windows|Android|iOS|Ubuntu|Python|Java|PHP|Rails|Django|IE|Firefox|Chrome|Angular|Swift|Xcode|Excel|"
    r"Visual Studio|SQL Server|Laravel|Bootstrap|jQuery|Tomcat|Qt|EF) (\d+(?:\.\w+)*|XP|Vista)\b",
    re.I,
)
_CAMEL = re.compile(r"(?<![\w.(])[A-Z][a-z]+[A-Z][a-z]+[A-Za-z]*(?:js|JS)?(?![\w(])(?! ?\()")
_DOT_JS = re.compile(r"\b[A-Za-z]\w+\.(?:js|NET)\b")
_API = re.compile(r"\b(?:[A-Z]\w+ )?(?:APIs?|SDK|IDE|plugin|framework)\b")


def _spans(pattern: re.Pattern[str], text: str, label: str, group: int = 0) -> Found:
    return (Span(*match.span(group), label) for match in pattern.finditer(text))


@labeling_function(name="languages")
def languages(text: str) -> Found:
    """Programming languages."""
    return _spans(_LANGUAGES, text, "SOFTWARE")


@labeling_function(name="libraries")
def libraries(text: str) -> Found:
    """Libraries and frameworks."""
    return _spans(_LIBRARIES, text, "SOFTWARE")


@labeling_function(name="applications")
def applications(text: str) -> Found:
    """Programs, and the words for a program."""
    return _spans(_APPLICATIONS, text, "SOFTWARE")


@labeling_function(name="systems")
def systems(text: str) -> Found:
    """Operating systems."""
    return _spans(_SYSTEMS, text, "OS")


@labeling_function(name="devices")
def devices(text: str) -> Found:
    """Devices and their parts."""
    return _spans(_DEVICES, text, "HARDWARE")


@labeling_function(name="named_errors")
def named_errors(text: str) -> Found:
    """Names such as IndexError."""
    return _spans(_NAMED_ERRORS, text, "ERROR")


@labeling_function(name="status_codes")
def status_codes(text: str) -> Found:
    """The answers of a web server that are errors."""
    return _spans(_STATUS, text, "ERROR")


@labeling_function(name="fatal_errors")
def fatal_errors(text: str) -> Found:
    """Errors that have words in place of a name."""
    return _spans(_FATAL, text, "ERROR")


@labeling_function(name="dotted_versions")
def dotted_versions(text: str) -> Found:
    """Numbers such as 2.0.1."""
    return _spans(_DOTTED, text, "VERSION")


@labeling_function(name="versions_by_word")
def versions_by_word(text: str) -> Found:
    """A number behind the word "version"."""
    return _spans(_AFTER_WORD, text, "VERSION", 1)


@labeling_function(name="versions_by_name")
def versions_by_name(text: str) -> Found:
    """A number behind a name that has versions."""
    return _spans(_AFTER_NAME, text, "VERSION", 1)


@labeling_function(name="camel_case")
def camel_case(text: str) -> Found:
    """Names such as OpenLayers; many are classes, which are no software."""
    return _spans(_CAMEL, text, "SOFTWARE")


@labeling_function(name="names_with_suffix")
def names_with_suffix(text: str) -> Found:
    """Names such as three.js."""
    return _spans(_DOT_JS, text, "SOFTWARE")


@labeling_function(name="interfaces")
def interfaces(text: str) -> Found:
    """Interfaces for programmers, and their like."""
    return _spans(_API, text, "SOFTWARE")

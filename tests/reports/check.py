#!/usr/bin/env python3
"""Reads the reports of drills as others read them, and says as JSON what it found.

    check.py json SCHEMA FILE     against the schema, and strictly: nothing in FILE that the schema does not describe
    check.py junit FILE           with junitparser, and by the rules of the JUnit schema
    check.py prometheus FILE      with the parser of the Python client, and by the rules that promtool warns of
    check.py html FILE            with a strict HTML 5 parser; nothing in it may run or be fetched

Status 0 where it is well, 1 with a line for each fault where it is not. Made from the formats' descriptions, not from asof.
"""

import json
import re
import sys


def strict(schema):
    """The same schema, in which objects have described properties only."""
    if isinstance(schema, dict):
        schema = {key: strict(value) for key, value in schema.items()}
        if "properties" in schema:
            schema["additionalProperties"] = False
        return schema
    if isinstance(schema, list):
        return [strict(value) for value in schema]
    return schema


def check_json(schema_path, path):
    from jsonschema import Draft202012Validator

    with open(schema_path) as file:
        schema = json.load(file)
    with open(path) as file:
        report = json.load(file)
    Draft202012Validator.check_schema(schema)
    faults = []
    for kind, checked in (("schema", schema), ("strictly", strict(schema))):
        for error in Draft202012Validator(checked).iter_errors(report):
            where = "/".join(str(part) for part in error.absolute_path)
            faults.append(f"{kind}: {where}: {error.message}"[:400])
    return faults, {"outcome": report.get("outcome")}


def check_junit(path):
    from xml.etree import ElementTree

    import junitparser

    faults = []
    root = ElementTree.parse(path).getroot()
    if root.tag != "testsuites":
        faults.append(f"the root is {root.tag}")
    order = ["properties", "testcase", "system-out", "system-err"]
    for suite in root:
        cases = suite.findall("testcase")
        places = [order.index(child.tag) if child.tag in order else -1 for child in suite]
        if suite.tag != "testsuite" or -1 in places or places != sorted(places):
            faults.append(f"{suite.tag}: children {[child.tag for child in suite]}")
        for attribute, found in (
            ("tests", len(cases)),
            ("failures", sum(case.find("failure") is not None for case in cases)),
            ("errors", sum(case.find("error") is not None for case in cases)),
        ):
            for holder in (suite, root):
                if len(root) == 1 and holder.get(attribute) != str(found):
                    faults.append(f"{holder.tag}: {attribute} is {holder.get(attribute)}, there are {found}")
        for case in cases:
            for attribute in ("name", "classname", "time"):
                if not case.get(attribute):
                    faults.append(f"a case without {attribute}")
            if sum(case.find(tag) is not None for tag in ("failure", "error", "skipped")) > 1:
                faults.append(f"{case.get('name')} ended twice")
    found = []
    for suite in junitparser.JUnitXml.fromfile(path):
        for case in suite:
            result = case.result if isinstance(case.result, list) else [case.result]
            results = [one for one in result if one is not None]
            ended = type(results[0]).__name__.lower() if results else "pass"
            message = results[0].message if results else ""
            found.append({"name": case.name, "classname": case.classname, "ended": ended, "message": message})
    return faults, {"cases": found}


def check_prometheus(path):
    from prometheus_client.parser import text_fd_to_metric_families

    faults, metrics = [], {}
    with open(path, newline="") as file:
        text = file.read()
    if not text.endswith("\n") or "\r" in text:
        faults.append("lines end in a line feed, the last one too")
    with open(path) as file:
        for family in text_fd_to_metric_families(file):
            if not family.documentation:
                faults.append(f"{family.name}: no help")
            if family.type not in ("gauge", "counter"):
                faults.append(f"{family.name}: type {family.type}")
            if not re.fullmatch(r"[a-z][a-z0-9_]*", family.name) or family.name.endswith(("_total", "_ms")):
                faults.append(f"{family.name}: not a name for it")
            seen = set()
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                if key in seen:
                    faults.append(f"{key}: twice")
                seen.add(key)
                if sample.timestamp is not None:
                    faults.append(f"{key}: the collector takes no time stamps")
                metrics.setdefault(sample.name, []).append({"labels": sample.labels, "value": sample.value})
    return faults, {"metrics": metrics}


def check_html(path):
    import html5lib

    faults = []
    with open(path, encoding="utf-8") as file:
        text = file.read()
    parser = html5lib.HTMLParser(strict=False, namespaceHTMLElements=False)
    document = parser.parse(text)
    for position, code, variables in parser.errors:
        faults.append(f"at {position}: {code} {variables}")
    ids, words = [], []
    for element in document.iter():
        tag = element.tag if isinstance(element.tag, str) else "comment"
        tag = tag.rsplit("}", 1)[-1]
        if tag in ("script", "iframe", "object", "embed", "link", "img", "image", "form", "base", "a", "use"):
            faults.append(f"<{tag}> is there")
        for name, value in element.attrib.items():
            name = name.rsplit("}", 1)[-1] if isinstance(name, str) else name[-1]
            if name.lower().startswith("on") or name in ("src", "href", "action", "srcset", "poster", "background"):
                faults.append(f"<{tag} {name}={value}>")
            if name == "id":
                ids.append(value)
        if tag == "style":
            for fetched in re.findall(r"url\(|@import|@font-face|expression\(", element.text or ""):
                faults.append(f"the style has {fetched}")
        else:
            words.extend(part for part in (element.text, element.tail) if part)
    for twice in {one for one in ids if ids.count(one) > 1}:
        faults.append(f"id {twice} is there twice")
    for referred in re.findall(r'aria-labelledby="([^"]*)"', text):
        if referred not in ids:
            faults.append(f"nothing has the id {referred}")
    lang = document.get("lang")
    if not lang:
        faults.append("no language")
    if document.find("head/title") is None or not document.find("head/title").text:
        faults.append("no title")
    return faults, {"title": document.find("head/title").text, "text": " ".join(" ".join(words).split())}


def main():
    checks = {"json": check_json, "junit": check_junit, "prometheus": check_prometheus, "html": check_html}
    faults, found = checks[sys.argv[1]](*sys.argv[2:])
    print(json.dumps(found))
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if faults else 0)


main()

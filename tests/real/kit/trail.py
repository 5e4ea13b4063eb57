"""Questions to the trail's records."""


def values(record, key):
    """Every value that stands under `key`, however deep."""
    if isinstance(record, dict):
        for name, value in record.items():
            if name == key:
                yield value
            yield from values(value, key)
    elif isinstance(record, list):
        for item in record:
            yield from values(item, key)


def first(record, key):
    return next(values(record, key), None)


def select(records, **wanted):
    """The records in which each key has the wanted value somewhere."""
    return [r for r in records if all(value in list(values(r, key)) for key, value in wanted.items())]


def patients(records):
    """The patient identifiers on these records."""
    return {patient["id"] for r in records for listed in values(r, "patients") for patient in listed}


def brief(records):
    """For a failed check: what was there instead."""
    return [
        (first(r, "phase"), first(r, "event"), first(r, "method"), first(r, "path"), first(r, "action"), first(r, "refusal"))
        for r in records
    ]

"""Accounts and synthetic patients for a fresh Opal. Run inside the project directory with Opal's own interpreter."""

import datetime
import os
import random

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "emr.settings"
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from opal.models import Patient, UserProfile  # noqa: E402

for name, administrator in (("dr.adams", True), ("nurse.lee", False)):
    user, _ = User.objects.get_or_create(username=name, defaults={"is_staff": administrator, "is_superuser": administrator})
    user.set_password("Legacy-pass-1")
    user.save()
    profile, _ = UserProfile.objects.get_or_create(user=user)
    profile.force_password_change = False
    profile.save()

dice = random.Random(7)
first = ["Ana", "Betz", "Chen", "Dina", "Emeka", "Farid", "Greta", "Hugo", "Ines", "Jun"]
last = ["Adams", "Baker", "Cruz", "Diaz", "Evans", "Fox", "Gray", "Hall", "Ito", "Jones"]
for number in range(Patient.objects.count(), 25):
    patient = Patient.objects.create()
    demographics = patient.demographics_set.get()
    demographics.first_name = dice.choice(first)
    demographics.surname = dice.choice(last)
    demographics.hospital_number = f"MRN{number + 1:06d}"
    demographics.date_of_birth = datetime.date(dice.randint(1935, 2020), dice.randint(1, 12), dice.randint(1, 28))
    demographics.save()
    patient.create_episode(start=datetime.date(2026, 11, dice.randint(1, 20)))

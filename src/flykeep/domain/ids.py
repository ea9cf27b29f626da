"""Names for the strings that identify things, so that one cannot stand in for another."""

from __future__ import annotations

from typing import NewType

AppName = NewType("AppName", str)
VolumeId = NewType("VolumeId", str)
VolumeName = NewType("VolumeName", str)
MachineId = NewType("MachineId", str)
SnapshotId = NewType("SnapshotId", str)
LineageId = NewType("LineageId", str)
RunId = NewType("RunId", str)
ExportId = NewType("ExportId", str)
ProofId = NewType("ProofId", str)
OwnerId = NewType("OwnerId", str)
IncidentId = NewType("IncidentId", str)

"""Localize-MI: recordings of single-pulse stimulation through contacts whose places are known.

Mikulan et al., Simultaneous human intracerebral stimulation and HD-EEG, ground-truth for source
localization methods, Scientific Data 7:127, 2020; data at G-Node, doi 10.12751/g-node.1cc1ae. Seven
subjects, 61 runs, 256 channels at 8 kHz.

Of the folder as it is published, this is read::

    derivatives/epochs/sub-01/eeg/sub-01_task-seegstim_run-01_epochs.npy     epochs of all channels
                                  sub-01_task-seegstim_run-01_epochs.json    which contacts
                                  sub-01_task-seegstim_run-01_epochs.tsv     zero_time, trial_type
                                  sub-01_task-seegstim_run-01_channels.tsv   name, units, status
                             ieeg/sub-01_task-seegstim_space-surface_electrodes.tsv    the contacts
                                  sub-01_task-seegstim_space-surface_coordsystem.json  their unit
    derivatives/sourcemodelling/sub-01/fwd/sub-01_fwd.fif                    the head

Files are found by the entities in their names wherever they lie in the folder. Epochs may also be
``_epo.fif`` or ``-epo.fif``, which need no tables of times and channels. Electrodes are where the
forward solution has them, for it is their lead field; tables of electrodes are not read.
"""
